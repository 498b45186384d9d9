"""What README tells a new user to type, typed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optimizer.cli.main import MAIN_JOB, VERBS
from optimizer.demo import fashion
from tests.end_to_end.conftest import ROOT, command, environment

README = (ROOT / "README.md").read_text()
SCORE = """
from optimizer.demo.fashion import top1 as full

def top1(infer):
    return full(infer)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user's folder: ``model.onnx``, ``calib/`` and ``score.py``, as README names them."""
    shutil.copy(fashion.MODEL, tmp_path / "model.onnx")
    (tmp_path / "calib").mkdir()
    samples = [sample["input"][None] for sample in fashion.calibration()][:64]
    np.savez(tmp_path / "calib" / "images.npz", input=np.concatenate(samples))
    (tmp_path / "score.py").write_text(SCORE)
    return tmp_path


def test_the_command_of_step_three(user: Path) -> None:
    line = next(line for line in README.splitlines() if line.startswith("optimize model.onnx"))
    arguments = shlex.split(line)[1:]
    done = subprocess.run(
        command(*arguments), cwd=user, env=environment(user), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert (user / "model.optimized" / "report.html").is_file()
    deploy = re.search(r"`optimize (deploy BUNDLE triton -o \S+)`", README)
    assert deploy is not None
    words = shlex.split(deploy[1].replace("BUNDLE", "model.optimized"))
    done = subprocess.run(command(*words), cwd=user, env=environment(user), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(user.glob("repository/*/config.pbtxt"))


def test_the_python_example(user: Path) -> None:
    code = blocks("python")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=user, env=environment(user), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "model.optimized" in done.stdout


def test_the_two_commands_are_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}\n" in README and re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_verb_is_named() -> None:
    assert not [verb for verb in VERBS if verb != MAIN_JOB and f"`{verb}`" not in README]
