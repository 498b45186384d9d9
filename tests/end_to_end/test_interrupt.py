"""Ctrl-C: the command exits promptly, and the same command takes up where it stopped."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Command, command, environment

ARGUMENTS = ("cnn.onnx", "--data", "data.npz", "--target", "cpu,a100", "--duration", "0.3")


@pytest.mark.parametrize("after", ["clean the graph", "check its accuracy", "build engines", "measure the CPU"])
def test_interrupted_runs_resume(folder: Path, optimize: Command, after: str) -> None:
    process = subprocess.Popen(
        command(*ARGUMENTS), cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stderr is not None
    for line in process.stderr:
        if after in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=20) == 130, rest
    assert "interrupted" in rest and not (folder / "cnn.optimized").exists()
    again = optimize(*ARGUMENTS)
    assert again.returncode == 0, again.stderr
    assert "kept from an earlier run" in again.stderr
    assert (folder / "cnn.optimized" / "manifest.json").is_file()
