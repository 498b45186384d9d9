"""The check itself: every candidate built, compared with FP32 and measured, each failure kept with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accuracy.compare import Accuracy, compare
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from engines.engine import Engine, Feed
from graphs.errors import in_a_line
from studies.gpu_check.candidates import Candidate, Prepared
from studies.gpu_check.measure import JouleSource, SpeedRow, measure_speed

LOADGEN_SCENARIOS = (Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE)


@dataclass(frozen=True)
class CheckSettings:
    """``batches`` are measured one by one, ``seconds`` each; ``loadgen_seconds`` 0 leaves LoadGen out."""

    batches: tuple[int, ...] = (1, 8, 32)
    seconds: float = 2.0
    loadgen_seconds: float = 10.0


@dataclass
class CandidateResult:
    """What one candidate did. ``failure`` is empty, or where it stopped and why; what came before it stands."""

    name: str
    failure: str = ""
    notes: tuple[str, ...] = ()
    build_seconds: float | None = None
    engine_bytes: int | None = None
    accuracy: Accuracy | None = None
    with_graphs: list[SpeedRow] = field(default_factory=list)
    without_graphs: list[SpeedRow] = field(default_factory=list)
    loadgen: list[LoadgenResult] = field(default_factory=list)


@dataclass(frozen=True)
class Data:
    """FP32 reference, feeds to compare on (the first is also timed) and the same as LoadGen sample files."""

    reference: Engine
    feeds: Sequence[Feed]
    samples: tuple[str, ...]
    logs: Path


def check(
    candidate: Candidate, data: Data, settings: CheckSettings, energy: JouleSource, say: Callable[[str], None]
) -> CandidateResult:
    """Build, compare, time and load one candidate. What it raises ends it and is kept in ``failure``."""
    result = CandidateResult(candidate.name)
    try:
        say(f"{candidate.name}: building")
        prepared = candidate.prepare()
        result.notes, result.build_seconds = prepared.notes, prepared.build_seconds
        result.engine_bytes = prepared.engine_bytes
        _run(result, prepared, data, settings, energy, say)
        _load(result, prepared, data, settings, say)
    except Exception as error:  # a library that breaks must not cost what the others measure
        result.failure = in_a_line(error)
    if result.failure:
        say(f"{candidate.name}: {result.failure}")
    return result


def _run(
    result: CandidateResult,
    prepared: Prepared,
    data: Data,
    settings: CheckSettings,
    energy: JouleSource,
    say: Callable[[str], None],
) -> None:
    batches = list(settings.batches)
    with prepared.open(True) as engine:
        say(f"{result.name}: comparing with FP32")
        result.accuracy = compare(data.reference, {result.name: engine}, data.feeds)[result.name]
        say(f"{result.name}: measuring")
        rows = measure_speed(engine, data.feeds[0], batches, settings.seconds, energy)
    if not prepared.graphs:
        result.without_graphs = rows
        return
    result.with_graphs = rows
    with prepared.open(False) as engine:
        say(f"{result.name}: measuring without CUDA graphs")
        result.without_graphs = measure_speed(engine, data.feeds[0], batches, settings.seconds, energy)


def _load(
    result: CandidateResult, prepared: Prepared, data: Data, settings: CheckSettings, say: Callable[[str], None]
) -> None:
    if not prepared.source or settings.loadgen_seconds <= 0:
        return
    for scenario in LOADGEN_SCENARIOS:
        say(f"{result.name}: LoadGen {scenario.value}")
        run = LoadgenSettings(scenario, duration_s=settings.loadgen_seconds, limit_s=6 * settings.loadgen_seconds)
        logs = data.logs / result.name.replace(" ", "-") / scenario.value
        result.loadgen.append(run_loadgen(LoadgenRequest(prepared.source, data.samples, run, str(logs))))
