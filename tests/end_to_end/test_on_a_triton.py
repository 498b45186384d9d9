"""docs/triton.md, typed: from a bundle of the demo's model to a real tritonserver."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from optimizer.demo import fashion
from tests.deployment.triton.real_server import has_server
from tests.end_to_end.conftest import ROOT, command, environment
from tests.end_to_end.test_serve import sealed

pytest.importorskip("tritonclient.grpc")
pytestmark = pytest.mark.skipif(not has_server(), reason="needs a tritonserver (docs/triton.md)")

PAGE = (ROOT / "docs" / "triton.md").read_text()


def documented(start: str) -> list[str]:
    """The page's command that begins so, without ``optimize``."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"optimize {start}"))
    return shlex.split(line)[1:]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = environment(cwd)
    own["PYTHONPATH"] = os.pathsep.join([own["PYTHONPATH"], os.environ.get("PYTHONPATH", "")])
    return subprocess.run(command(*arguments), cwd=cwd, env=own, capture_output=True, text=True, timeout=300)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A folder with ``demo.optimized``: the demo's model, of fewer samples and without LoadGen's runs."""
    functions = f"{fashion.__name__}:"
    options = ["--target", "cpu", "--samples", "64", "--loadgen", "none", "-o", "demo.optimized", "-q"]
    done = run(str(fashion.MODEL), "--data", f"{functions}calibration", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_page(user: Path) -> None:
    words = documented("deploy demo.optimized triton -o repository")
    words += ["--optimize-for", "throughput", "--tune-seconds", "1"]
    done = run(*words, cwd=user)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("every answer equal to the engine's, bit for bit") >= 2
    scores = re.search(r"top-1: (\S+) through Triton, (\S+) by the engine itself \(10,000 samples\)", done.stdout)
    assert scores is not None
    assert scores[1] == scores[2] and float(scores[1]) > 0.9
    trace = json.loads((user / "repository" / "demo" / "tuning.json").read_text())
    assert trace["trials"][0]["requests_per_s"] > 0
    assert not list((user / "repository").rglob("__pycache__"))


def test_a_check_that_is_ended_leaves_no_server_and_no_files(tmp_path: Path) -> None:
    bundle, scratch = sealed(tmp_path / "twice.optimized", 2), tmp_path / "scratch"
    scratch.mkdir()
    words = command("deploy", str(bundle), "triton", "-o", str(tmp_path / "out"), "--backend", "python", "--check")
    own = environment(tmp_path) | {"TMPDIR": str(scratch)}
    own["PYTHONPATH"] = os.pathsep.join([own["PYTHONPATH"], os.environ.get("PYTHONPATH", "")])
    started = subprocess.Popen(words, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (ours := processes_with(f"--backend-directory={scratch}")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ours, "no server was seen"
        started.send_signal(signal.SIGTERM)
        _, said = started.communicate(timeout=60)
    finally:
        started.kill()
    assert (started.returncode, said) == (143, "")
    assert not processes_with(str(scratch))
    assert [path.name for path in scratch.iterdir() if path.name != ".ses"] == []  # ONNX Runtime's own


def processes_with(word: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [int(path.parent.name)] if word.encode() in path.read_bytes() else []
    return found
