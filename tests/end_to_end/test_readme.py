"""What README tells a new user to type, typed; LoadGen's runs and what else is timed are cut short."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import islice
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from engines.onnxruntime.engine import OnnxRuntimeEngine
from optimizer.cli.main import MAIN_JOB, VERBS
from optimizer.demo import fashion
from tests.end_to_end.conftest import ROOT, Command

README = (ROOT / "README.md").read_text()


def python_with(text: str) -> str:
    """The one block of Python that holds ``text``."""
    found = [dedent(block) for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if text in block]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def user(folder: Path) -> Path:
    """A user's folder: ``model.onnx``, ``calib/`` and ``score.py``, as README names them."""
    (folder / "cnn.onnx").rename(folder / "model.onnx")
    (folder / "calib").mkdir()
    (folder / "data.npz").rename(folder / "calib" / "images.npz")
    images = np.random.default_rng(2).standard_normal((256, 3, 16, 16)).astype(np.float32)
    with OnnxRuntimeEngine(folder / "model.onnx") as model:
        np.savez(folder / "labelled.npz", images=images, labels=model.infer({"input": images})["logits"].argmax(1))
    (folder / "score.py").write_text(python_with("def top1"))
    return folder


def test_the_command_of_step_three(user: Path, optimize: Command) -> None:
    line = next(line for line in README.splitlines() if line.startswith("optimize model.onnx"))
    done = optimize(*shlex.split(line)[1:], "--duration", "0.3")
    assert done.returncode == 0, done.stderr
    assert (user / "model.optimized" / "report.html").is_file()
    deploy = re.search(r"`optimize (deploy BUNDLE triton -o \S+)`", README)
    assert deploy is not None
    done = optimize(*shlex.split(deploy[1].replace("BUNDLE", "model.optimized")))
    assert done.returncode == 0, done.stderr
    assert list(user.glob("repository/*/config.pbtxt"))


def test_the_python_example(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the demo's model: the example feeds an image of its size."""
    shutil.copy(fashion.MODEL, tmp_path / "model.onnx")
    (tmp_path / "calib").mkdir()
    samples = [sample["input"][None] for sample in islice(fashion.calibration(), 64)]
    np.savez(tmp_path / "calib" / "images.npz", input=np.concatenate(samples))
    code = python_with("max_drop=0.01)")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("max_drop=0.01)", "max_drop=0.01, duration=0.3)"), {})
    assert "model.optimized" in capsys.readouterr().out


def test_the_two_commands_are_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}\n" in README and re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_verb_is_named() -> None:
    assert not [verb for verb in VERBS if verb != MAIN_JOB and f"`{verb}`" not in README]
