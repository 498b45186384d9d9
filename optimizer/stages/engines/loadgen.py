"""MLPerf LoadGen on the engines that run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, product
from pathlib import Path

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from benchmarks.samples.library import save_samples
from calibration.source import SampleSource
from engines.errors import EngineError
from graphs.errors import BadInput
from optimizer.attempt import attempt
from optimizer.events import Detail, Events

LIBRARY_SAMPLES = 64
"""Held-back samples that LoadGen draws from; speed does not depend on their number. Chosen."""


def measure_scenarios(
    bundle: Path,
    engines: Mapping[str, Path],
    scenarios: Sequence[str],
    duration: float,
    held_back: SampleSource,
    scratch: Path,
    events: Events,
) -> dict[str, dict[str, LoadgenResult]]:
    """Run every scenario on the engines in the folders ``engines`` (by target), each in a process of its own; raw logs
    go to ``bundle/loadgen/<target>/<scenario>``.

    ``log_dir`` of a result is relative to the bundle. A scenario that cannot be run costs its result and a warning.
    """
    nothing: tuple[str, ...] = ()
    samples, notes = attempt("LoadGen's samples", lambda: _saved(held_back, scratch / "samples"), nothing)
    results: dict[str, dict[str, LoadgenResult]] = {target: {} for target in engines}
    for target, scenario in product(engines, scenarios) if samples else ():
        events.emit(Detail("loadgen", f"{target}: {scenario}"))
        logs = Path("loadgen", target, scenario)
        request = LoadgenRequest(
            engine=str(engines[target]),
            samples=samples,
            settings=LoadgenSettings(Scenario(scenario), duration_s=duration),
            log_dir=str(bundle / logs),
        )
        result, failed = attempt(f"LoadGen {scenario}", partial(_run, request), None)
        notes += failed
        if result is not None:
            results[target][scenario] = replace(result, log_dir=str(logs))
    for note in notes:
        events.warn("loadgen", note)
    return results


def _saved(held_back: SampleSource, folder: Path) -> tuple[str, ...]:
    return save_samples(islice(held_back.samples(), LIBRARY_SAMPLES), held_back.specs, folder)


def _run(request: LoadgenRequest) -> LoadgenResult:
    try:
        return run_loadgen(request)
    except BadInput as error:  # samples and engine are ours: nothing of it is the user's to mend
        raise EngineError(error.what, where=error.where, expected=error.expected) from error
