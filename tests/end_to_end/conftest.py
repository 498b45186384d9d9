"""A small real model with data, and the real command: in this process, or in one of its own where that is the point."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import onnx
import pytest

import optimizer.stages.engines.cpu as cpu
import optimizer.stages.engines.measuring as measuring
from optimizer.cli.main import main

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]

CNN = """
<ir_version: 9, opset_import: ["" : 17]>
cnn (float[batch, 3, 16, 16] input) => (float[batch, 10] logits) {
  first = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (input, w1, b1)
  first_relu = Relu (first)
  second = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (first_relu, w2, b2)
  sum = Add (second, first_relu)
  sum_relu = Relu (sum)
  pooled = GlobalAveragePool (sum_relu)
  flat = Flatten (pooled)
  logits = Gemm <transB = 1> (flat, w3, b3)
}
"""
SHAPES = {"w1": (32, 3, 3, 3), "b1": (32,), "w2": (32, 32, 3, 3), "b2": (32,), "w3": (10, 32), "b3": (10,)}


def cnn() -> onnx.ModelProto:
    """A residual CNN with seeded weights."""
    model = onnx.parser.parse_model(CNN)
    rng = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        values = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes from another test, also where the command runs in this process."""
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(tmp_path / ".cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with ``cnn.onnx`` and ``data.npz`` (48 samples)."""
    onnx.save(cnn(), tmp_path / "cnn.onnx")
    samples = np.random.default_rng(1).standard_normal((48, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", input=samples)
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job times in this process takes a tenth."""
    for module in (cpu, measuring):
        monkeypatch.setattr(module, "SECONDS", 0.1)


@pytest.fixture
def optimize(folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``optimize(*arguments)`` runs the command in ``folder``, in this process: starting one takes longer than most of
    what is asked of it.
    """

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        output, errors = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
            patch.chdir(folder)
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        said = [stream.buffer.getvalue().decode() for stream in (output, errors)]
        return subprocess.CompletedProcess(arguments, ended.value.code, *said)

    return run


@pytest.fixture
def process(folder: Path) -> Command:
    """``process(*arguments)`` runs the command in ``folder``, in a process of its own as a user's shell does."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=180
        )

    return run


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "optimizer.cli.main", *arguments]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "ENGINEWRIGHT_CACHE": str(folder / ".cache")}
