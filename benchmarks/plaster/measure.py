"""Measuring prepared variants side by side: one interleaved run, the same inputs, the same counters for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.accuracy.compare import Accuracy, compare
from benchmarks.accuracy.task_metric import TaskAccuracy, evaluate_task
from benchmarks.batching import repeat_to_batch, sample_count
from benchmarks.energy.counters import counter_for
from benchmarks.energy.measure import Energy, measure_energy
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.measurement import Latency
from benchmarks.memory import EngineMemory, engine_memory
from benchmarks.plaster import figures
from benchmarks.plaster.study import Prepared, Variant
from benchmarks.report.model import LoadgenSummary, OutputFidelity, Plaster
from benchmarks.samples.library import save_samples
from benchmarks.score import Evaluate
from benchmarks.timing.steady import Steadiness, SteadyRun, measure_steady
from engines.engine import Engine, Feed
from engines.errors import EngineError
from engines.open import open_engine

LIBRARY_SAMPLES = 64
"""Samples that LoadGen draws from; speed does not depend on their values. Chosen."""
SCENARIOS = (Scenario.SINGLE_STREAM, Scenario.OFFLINE)
Say = Callable[[str], None]


@dataclass(frozen=True)
class StudySettings:
    """``seconds`` per timed loop and engine, ``duration`` per LoadGen run (0: none), ``batch`` for throughput;
    ``bound_ms`` is the latency bound to judge p99 by; ``gpu_index`` None on the CPU."""

    seconds: float = 2.0
    duration: float = 2.0
    batch: int = 8
    bound_ms: float | None = None
    gpu_index: int | None = None


@dataclass(frozen=True)
class StudyData:
    """``feeds`` yields the held-back samples anew on each call; ``evaluate`` is the user's metric or None."""

    reference: Engine
    feeds: Callable[[], Iterable[Feed]]
    evaluate: str | Evaluate | None
    model_bytes: int


@dataclass(frozen=True)
class _Timed:
    """What was measured with all engines open."""

    latency: SteadyRun
    throughput: SteadyRun
    batch: int
    energy: dict[str, Energy]
    accuracy: dict[str, Accuracy]
    task: Mapping[str, TaskAccuracy]


def measure_variants(
    prepared: Sequence[Prepared], data: StudyData, settings: StudySettings, scratch: Path, say: Say
) -> tuple[list[Variant], dict[str, Steadiness]]:
    """Every variant with its seven figures, and how steady the two timed runs were. The first is the baseline."""
    with ExitStack() as stack:
        engines = {p.name: stack.enter_context(open_engine(Path(p.folder))) for p in prepared}
        timed = _time_all(engines, data, settings, say)
        samples = save_samples(
            islice(data.feeds(), LIBRARY_SAMPLES), engines[prepared[0].name].inputs, scratch / "samples"
        )
    variants = [_variant(p, timed, data, settings, samples, scratch, say) for p in prepared]
    return variants, {"latency": timed.latency.steadiness, "throughput": timed.throughput.steadiness}


def _time_all(engines: Mapping[str, Engine], data: StudyData, settings: StudySettings, say: Say) -> _Timed:
    feed = next(iter(data.feeds()))
    specs = next(iter(engines.values())).inputs
    many = repeat_to_batch(specs, feed, settings.batch) or feed
    say("comparing with FP32")
    accuracy = compare(data.reference, engines, data.feeds())
    task = evaluate_task(data.evaluate, data.reference, engines) if data.evaluate else {}
    say("timing one request at a time, in turns")
    latency = measure_steady(engines, dict.fromkeys(engines, feed), seconds=settings.seconds)
    say(f"timing batches of {sample_count(specs, many)}, in turns")
    throughput = measure_steady(engines, dict.fromkeys(engines, many), seconds=settings.seconds, min_runs=5)
    counter = counter_for(settings.gpu_index)
    energy = {name: measure_energy(engine, many, counter, seconds=settings.seconds) for name, engine in engines.items()}
    return _Timed(latency, throughput, sample_count(specs, many), energy, accuracy, task)


def _variant(
    prepared: Prepared,
    timed: _Timed,
    data: StudyData,
    settings: StudySettings,
    samples: tuple[str, ...],
    scratch: Path,
    say: Say,
) -> Variant:
    name = prepared.name
    say(f"{prepared.title}: memory{' and LoadGen' if settings.duration > 0 else ''}")
    memory, why = _memory(prepared.folder, next(iter(data.feeds())))
    runs = _loadgen(prepared, settings.duration, samples, scratch / "loadgen" / name)
    latency, accuracy, task = timed.latency.latency[name], timed.accuracy[name], timed.task.get(name)
    rate = 1e3 * timed.batch / timed.throughput.latency[name].p50
    outputs = {output: OutputFidelity.of(found) for output, found in accuracy.outputs.items()}
    plaster = Plaster(
        programmability=figures.programmability({name: prepared.native}, prepared.flags),
        latency=figures.latency(runs.get(Scenario.SINGLE_STREAM.value), latency, settings.bound_ms),
        accuracy=figures.accuracy(outputs, task, accuracy.samples, "this engine, measured"),
        size=figures.size(data.model_bytes, prepared.engine_bytes, memory, why),
        throughput=figures.throughput(runs.get(Scenario.OFFLINE.value), rate, timed.batch),
        energy=figures.energy(timed.energy[name]),
        rate_of_learning=figures.rate_of_learning(prepared.learning),
    )
    return _assemble(prepared, plaster, latency, rate, timed.batch, outputs, task, runs)


def _assemble(
    prepared: Prepared,
    plaster: Plaster,
    latency: Latency,
    rate: float,
    batch: int,
    outputs: dict[str, OutputFidelity],
    task: TaskAccuracy | None,
    runs: dict[str, LoadgenSummary],
) -> Variant:
    return Variant(
        name=prepared.name,
        title=prepared.title,
        dtype=prepared.dtype,
        ran=prepared.ran,
        plaster=plaster,
        latency=latency,
        throughput=rate,
        batch=batch,
        outputs=outputs,
        task=task,
        loadgen=runs,
        notes=prepared.notes,
    )


def _memory(folder: str, feed: Feed) -> tuple[EngineMemory | None, str]:
    try:
        return engine_memory(folder, feed), ""
    except EngineError as error:
        return None, error.what


def _loadgen(prepared: Prepared, duration: float, samples: tuple[str, ...], logs: Path) -> dict[str, LoadgenSummary]:
    """SingleStream and Offline; raw logs under ``logs``."""
    if duration <= 0:
        return {}
    found = {}
    for scenario in SCENARIOS:
        request = LoadgenRequest(
            prepared.folder, samples, LoadgenSettings(scenario, duration_s=duration), str(logs / scenario.value)
        )
        found[scenario.value] = LoadgenSummary.of(run_loadgen(request), f"loadgen/{prepared.name}/{scenario.value}")
    return found
