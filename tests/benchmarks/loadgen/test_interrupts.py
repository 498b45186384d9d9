"""Ctrl-C, a killed parent, and the official settings, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks.samples.library import save_samples
from engines.engine import TensorSpec

ENGINES = Path(__file__).with_name("engines_for_tests.py")
SPECS = (TensorSpec("x", "float32", ("batch", 16)),)
PARENT = """
import sys
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
settings = LoadgenSettings(Scenario.SINGLE_STREAM, duration_s=60.0)
run_loadgen(LoadgenRequest(sys.argv[1] + ":Slow", (sys.argv[2],), settings, sys.argv[3]))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(benchmarks.__path__[0]).parent)}


def running(log_dir: Path) -> list[int]:
    """Processes of ours that still have the run's log open."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                targets = {str(link.readlink()) for link in (entry / "fd").iterdir()}
            except OSError:
                continue
            if str(log_dir / "process.log") in targets:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_when_its_parent_does(how: signal.Signals, tmp_path: Path) -> None:
    (sample,) = save_samples([{"x": np.zeros((1, 16), np.float32)}], SPECS, tmp_path / "samples")
    log_dir = tmp_path / "log"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(ENGINES), sample, str(log_dir)],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while not (log_dir / "mlperf_log_detail.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(log_dir), "the child is at work"
    parent.send_signal(how)
    start = time.monotonic()
    assert parent.wait(10) != 0
    while running(log_dir) and time.monotonic() < start + 20:
        time.sleep(0.05)
    assert not running(log_dir)


def test_official_settings_are_loadgens_own() -> None:
    code = """
import json
from benchmarks.loadgen.native import native_settings
from benchmarks.loadgen.plan import RunPlan
from benchmarks.loadgen.settings import LoadgenSettings, Scenario
plan = RunPlan(1, 1.0, 1.0, 1.0, 1e-3, 123.0, 100.0, 1)
native = native_settings(LoadgenSettings(Scenario.OFFLINE, duration_s=1.0, official="resnet50"), plan)
print(json.dumps([native.min_duration_ms, native.min_query_count, native.qsl_rng_seed, native.offline_expected_qps]))
"""
    out = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=True, text=True)
    assert json.loads(out.stdout.splitlines()[-1]) == [600_000, 24_576, 2085463073848966840, 123.0]
