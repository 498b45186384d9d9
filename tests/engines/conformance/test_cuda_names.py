"""Every name of cuda-python and nvidia-ml-py that our code uses is real, and called with as many arguments; the
stand-ins of ``tests.gpu_machine`` have none that the real packages lack, and each as it is there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.conformance.cuda_names import PACKAGES, Package, calls, snapshot, used
from tests.gpu_machine import environment

STAND_IN = """
import importlib, json, re, sys
from tests.engines.conformance.cuda_names import described
module = importlib.import_module(sys.argv[1])
names = {name for name in vars(module) if re.fullmatch(sys.argv[2], name)}
print(json.dumps(described(module, names)))
"""
packages = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.distribution)


@packages
def test_every_name_is_real(package: Package) -> None:
    real = snapshot(package)["names"]
    members = {member for said in real.values() if isinstance(said, dict) for member in said}
    assert used(package) and used(package) - set(real) - members == set()


@packages
def test_every_call_has_its_arguments(package: Package) -> None:
    real = snapshot(package)["names"]
    found = [call for call in calls(package) if isinstance(real.get(call.name), list)]
    assert len(found) > 10
    assert [call for call in found if not len(needed(real[call.name])) <= call.arguments <= len(real[call.name])] == []


@packages
def test_the_stand_in_is_as_the_real_one(package: Package, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STAND_IN, package.module, package.names]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, real = json.loads(done.stdout), snapshot(package)["names"]
    assert set(found) - set(real) == set(), "no name of its own"
    for name, said in found.items():
        if isinstance(said, dict):
            assert said.items() <= real[name].items(), name
        else:
            assert said == (needed(real[name]) if isinstance(said, list) else real[name]), name


def needed(arguments: list[str]) -> list[str]:
    """Those that may not be left out."""
    return [name for name in arguments if not name.endswith("=")]
