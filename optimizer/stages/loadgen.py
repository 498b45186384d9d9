"""MLPerf LoadGen on the engines that run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.samples import save_samples
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from calibration.source import SampleSource
from optimizer.events import Detail, Events

LIBRARY_SAMPLES = 64


def measure_scenarios(
    bundle: Path,
    target: str,
    scenarios: Sequence[str],
    duration: float,
    held_back: SampleSource,
    scratch: Path,
    events: Events,
) -> dict[str, LoadgenResult]:
    """Run each scenario in a process of its own; the raw logs go to ``bundle/loadgen/<target>/<scenario>``.

    ``log_dir`` of a result is relative to the bundle.
    """
    samples = save_samples(islice(held_back.samples(), LIBRARY_SAMPLES), held_back.specs, scratch / "samples")
    results = {}
    for scenario in scenarios:
        events.emit(Detail("loadgen", f"{target}: {scenario}"))
        logs = Path("loadgen", target, scenario)
        result = run_loadgen(
            LoadgenRequest(
                engine=str(bundle / "engines" / target),
                samples=samples,
                settings=LoadgenSettings(Scenario(scenario), duration_s=duration),
                log_dir=str(bundle / logs),
            )
        )
        results[scenario] = replace(result, log_dir=str(logs))
    return results
