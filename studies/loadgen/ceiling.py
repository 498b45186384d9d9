"""How fast LoadGen can be driven from here with no engine behind it: ``python -m studies.loadgen.ceiling [--json]``.

The real systems under test of ``benchmarks.loadgen.sut`` run with an engine that does nothing, so a measurement near
these figures measures the harness, not the engine. Prints ``offline_samples_per_s``, and ``server_qps_valid``: the
highest tried rate at which Server is VALID with p99 within 15 ms (0 for none).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from benchmarks.samples.library import save_samples
from studies.loadgen.null_engine import NullEngine

SERVER_BOUND_MS = 15.0  # MLPerf's for ResNet-50
SERVER_RATES = (10_000.0, 20_000.0, 40_000.0, 80_000.0, 160_000.0)
BATCH = 1024  # samples: the harness alone is measured


def measure_ceiling(seconds: float, rates: Sequence[float] = SERVER_RATES) -> dict[str, float]:
    """Offline samples per second, and the highest valid Server rate; climbing stops at the second rate that fails."""
    with tempfile.TemporaryDirectory(prefix="ceiling-") as scratch:
        folder = Path(scratch)
        feeds = ({"x": np.zeros((1, 1), np.float32)} for _ in range(1024))
        samples = save_samples(feeds, NullEngine.inputs, folder / "samples")
        offline = _run(folder, samples, LoadgenSettings(Scenario.OFFLINE, duration_s=seconds, max_batch=BATCH))
        return {
            "offline_samples_per_s": round(offline.value or 0.0, 1) if offline.valid else 0.0,
            "server_qps_valid": _climb(folder, samples, seconds, rates),
        }


def _climb(folder: Path, samples: tuple[str, ...], seconds: float, rates: Sequence[float]) -> float:
    highest, failures = 0.0, 0
    for rate in rates:
        settings = LoadgenSettings(
            Scenario.SERVER, duration_s=seconds, target_qps=rate, latency_bound_ms=SERVER_BOUND_MS, max_batch=BATCH
        )
        if _run(folder, samples, settings).valid:
            highest = rate
        else:
            failures += 1  # one stall of a shared machine is not the harness's limit; a second failure is
            if failures == 2:
                break
    return highest


def _run(folder: Path, samples: tuple[str, ...], settings: LoadgenSettings) -> LoadgenResult:
    source = f"{Path(__file__).with_name('null_engine.py')}:NullEngine"
    return run_loadgen(LoadgenRequest(source, samples, settings, str(folder / settings.scenario.value)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each run (default 3)")
    options = parser.parse_args(arguments)
    ceiling = measure_ceiling(options.seconds)
    if options.json:
        sys.stdout.write(json.dumps(ceiling) + "\n")
    else:
        sys.stdout.write(f"Offline {ceiling['offline_samples_per_s']:,.0f} samples/s\n")
        sys.stdout.write(f"Server  {ceiling['server_qps_valid']:,.0f} qps valid (p99 within {SERVER_BOUND_MS:g} ms)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
