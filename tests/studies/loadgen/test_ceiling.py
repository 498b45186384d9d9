"""The harness with nothing behind it must be far faster than any engine it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import studies


def test_the_ceiling_is_measured_and_high() -> None:
    command = [sys.executable, "-m", "studies.loadgen.ceiling", "--json", "--seconds", "0.5"]
    root = Path(studies.__path__[0]).parent
    out = subprocess.run(command, capture_output=True, check=True, text=True, cwd=root)
    ceiling = json.loads(out.stdout)
    assert ceiling["offline_samples_per_s"] > 100_000, "an eighth of the goal: other processes may be busy"
    assert ceiling["server_qps_valid"] > 0
