"""The stand-in TensorRT of ``tests.gpu_machine`` has no name that the real 11 (or 8.5) lacks, and can what that can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.conformance.bindings import BINDINGS, NEWEST, Binding, snapshot
from tests.gpu_machine import environment

NAMES = """
import enum, json, tensorrt
from engines.tensorrt.capabilities import probe
plain = set(dir(object)) | set(dir(enum.IntEnum))
found = {}
for name in tensorrt.__all__:
    members = [m for m in dir(getattr(tensorrt, name)) if not m.startswith("_") and m not in plain]
    found[name] = members
print(json.dumps({"names": found, "capabilities": vars(probe(tensorrt, "tensorrt"))}))
"""
NOT_NEEDED = {"plugins", "onnx_refitter", "serialization_config", "registry_of_owner", "registry_loads"}
"""Nothing of the main job asks for these."""


@pytest.mark.parametrize(("old", "binding"), [(False, NEWEST), (True, BINDINGS[0])], ids=["11", "8.5"])
def test_every_name_is_real(tmp_path: Path, old: bool, binding: Binding) -> None:
    given = environment(tmp_path, old=old)
    done = subprocess.run([sys.executable, "-c", NAMES], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, real = json.loads(done.stdout), snapshot(binding)
    unknown = [f"{o}.{m}" for o, members in found["names"].items() for m in members if m not in real.names.get(o, {})]
    assert unknown == []
    able = {
        name: value for name, value in json.loads(json.dumps(vars(real.capabilities))).items() if name not in NOT_NEEDED
    }
    assert {name: value for name, value in found["capabilities"].items() if name in able} == able
