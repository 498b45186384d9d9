"""``optimize compare``: two bundles or models on the same inputs, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.accuracy.compare import Accuracy, compare
from benchmarks.accuracy.task_metric import TaskAccuracy, evaluate_task
from benchmarks.batching import sample_count, smallest_feed
from benchmarks.measurement import Latency
from benchmarks.timing.child import steady_in_child
from benchmarks.timing.steady import Steadiness, SteadyRun, measure_steady
from calibration.source import batches
from calibration.sources.open import open_source
from engines.apart.opening import open_apart
from engines.engine import EngineBase, Feed, TensorSpec, told
from engines.feeds.in_types import InTypesOf
from engines.feeds.portions import InPortions
from engines.manifest import EngineManifest
from engines.open import open_engine
from engines.targets.gpus_here import native_target
from engines.targets.target import CPU
from graphs.errors import BadInput
from graphs.storage.model_files import model_bytes
from optimizer.bundle import MANIFEST, Bundle
from optimizer.importing import import_model
from optimizer.stages.data.batching import found_batching, has_open_axis, running_as_given, whole_samples
from optimizer.stages.reference import opened_reference
from optimizer.verbs.engine_tables import EngineDifference, compare_engines
from optimizer.verbs.gates import Gate, Outcome, Quantity, judge
from optimizer.verbs.usual_inputs import random_inputs

SECONDS = 1.0
"""How long each of a GPU's engines is timed; chosen."""
BATCH = 8
"""Samples that run at once when accuracy is compared. Chosen."""


@dataclass(frozen=True)
class Side:
    """One of the two: what it is, the bytes of its file or engine, its latency for one sample. ``ran`` says what ran in
    the place of a file that ONNX Runtime does not run, and why; empty where that ran.
    """

    path: str
    bytes: int
    latency_ms: Latency
    ran: str = ""


@dataclass(frozen=True)
class Comparison:
    """``accuracy`` is the second side's against the first; ``speedup`` how many times faster the second is, the median
    over pairs of bursts, whose interval ``steadiness`` holds.

    ``engines`` are the differences of two bundles' GPU engines by target. All but these is None for bundles that have
    no engine in common that runs here; ``target`` is the one that ran. ``task`` is the user's metric of both, of which
    the first stands under ``fp32``; ``gates`` are the conditions asked for and what became of them.
    """

    first: Side | None
    second: Side | None
    accuracy: Accuracy | None
    speedup: float | None
    steadiness: Steadiness | None
    engines: dict[str, EngineDifference] = field(default_factory=dict)
    target: str = CPU.name
    task: TaskAccuracy | None = None
    gates: list[Outcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every gate holds; one that could not be judged does not."""
        return all(outcome.failed is False for outcome in self.gates)


def compare_sides(
    first: Path, second: Path, data: str, samples: int, *, evaluate: str | None = None, gates: Sequence[Gate] = ()
) -> Comparison:
    """Run both in turn on the same inputs, two bundles on the GPU that is here where both have an engine for it, else
    on the CPU; and compare the GPU engines' layer tables. ``evaluate`` scores both; ``gates`` are held against it all.

    A GPU's engines run in processes of their own. Raises ``BadInput`` when the two take different inputs, and for a
    gate on a metric that nobody gave; ``EngineError`` where one does not run.
    """
    for gate in gates:
        if gate.quantity is Quantity.METRIC and not evaluate:
            fix = "add --evaluate FILE.py:FUNCTION"
            raise BadInput("no metric is asked of the two", where=f"--fail-if {gate.text!r}", fix=fix)
    found = _compared(first, second, data, samples, evaluate)
    return replace(found, gates=judge(gates, *_figures(found)))


def _figures(found: Comparison) -> tuple[dict[Quantity, float], dict[Quantity, float]]:
    """Of both sides by quantity, as far as they are known; an SQNR is that of the worst output."""
    first, second = (_of_side(side) if side is not None else {} for side in (found.first, found.second))
    if found.task is not None:
        first[Quantity.METRIC], second[Quantity.METRIC] = found.task.fp32, found.task.optimized
    if found.accuracy is not None:
        outputs = found.accuracy.outputs.values()
        second[Quantity.SQNR], second[Quantity.AGREEMENT] = found.accuracy.sqnr_db, found.accuracy.agreement
        second[Quantity.COSINE] = min((output.cosine for output in outputs), default=1.0)
        second[Quantity.MAX_ABS] = max((output.max_abs for output in outputs), default=0.0)
    return first, second


def _of_side(side: Side) -> dict[Quantity, float]:
    latency = side.latency_ms
    return {
        Quantity.P50: latency.p50,
        Quantity.P90: latency.p90,
        Quantity.P99: latency.p99,
        Quantity.SIZE: side.bytes / 1e6,
    }


def _compared(first: Path, second: Path, data: str, samples: int, evaluate: str | None) -> Comparison:
    bundles = [path for path in (first, second) if (path / MANIFEST).is_file()]
    differences = compare_engines(first, second) if len(bundles) == 2 else {}
    target = _target(bundles) if len(bundles) == 2 else CPU.name
    if differences and any(target not in Bundle(path).targets() for path in bundles):
        return Comparison(None, None, None, None, None, differences)
    with ExitStack() as stack:
        opened = {
            "first": stack.enter_context(_open(first, target)),
            "second": stack.enter_context(_open(second, target)),
        }
        engines: dict[str, EngineBase] = {side: found.engine for side, found in opened.items()}
        specs = engines["first"].inputs
        if {s.name for s in specs} != {s.name for s in engines["second"].inputs}:
            raise BadInput(
                "the two take different inputs",
                where=f"{first}, {second}",
                expected=f"{_names(engines['first'])} as the first takes; the second takes {_names(engines['second'])}",
            )
        _check_shapes(engines["first"].inputs, engines["second"].inputs, f"{first}, {second}")
        specs = _known_specs(engines, first, data, samples, target)
        for engine in engines.values():
            engine.learn(specs)
        source = open_source(data, specs, samples=samples, **_random(first, target))
        feeds = batches(source.samples(), BATCH, specs)
        second_fed = InTypesOf(engines["second"], specs, f"{first}, {second}")
        accuracy = compare(engines["first"], {"second": second_fed}, feeds)["second"]
        task = None
        if evaluate is not None:
            task = evaluate_task(evaluate, engines["first"], {"second": second_fed})["second"]
        sample = next(source.samples())
        run = (
            measure_steady(engines, {"first": sample, "second": second_fed.typed(sample)})
            if target == CPU.name
            else None
        )
    run = run or _timed_apart(bundles, target, sample)  # when the others have left the GPU's memory
    latency = run.latency
    return Comparison(
        Side(str(first), _size(first, target), latency["first"], opened["first"].ran),
        Side(str(second), _size(second, target), latency["second"], opened["second"].ran),
        accuracy,
        run.steadiness.speedup["second"].value,
        run.steadiness,
        differences,
        target,
        task,
    )


def _names(engine: EngineBase) -> str:
    return ", ".join(repr(spec.name) for spec in engine.inputs)


def _check_shapes(first: Sequence[TensorSpec], second: Sequence[TensorSpec], where: str) -> None:
    """Raises ``BadInput`` for an input of which no array suits both."""
    others = {spec.name: spec.shape for spec in second}
    for spec in first:
        other = others[spec.name]
        fixed = [(a, b) for a, b in zip(spec.shape, other, strict=False) if isinstance(a, int) and isinstance(b, int)]
        if len(spec.shape) != len(other) or any(a != b for a, b in fixed):
            raise BadInput(
                f"the two take {spec.name!r} in different shapes: {list(spec.shape)} and {list(other)}", where=where
            )


def _target(bundles: Sequence[Path]) -> str:
    """The GPU that is here, where all have an engine for it; else the CPU."""
    native = native_target()
    return native.name if native and all(native.name in Bundle(path).targets() for path in bundles) else CPU.name


@dataclass(frozen=True)
class _Opened:
    """``ran`` as of ``Side``."""

    engine: EngineBase
    ran: str = ""


@contextmanager
def _open(path: Path, target: str) -> Iterator[_Opened]:
    if not (path / MANIFEST).is_file():
        with opened_reference(import_model(path)) as reference:
            ran = f"the imported graph ran, for the file does not: {reference.refusal}" if reference.refusal else ""
            yield _Opened(reference.engine, ran)
        return
    folder = Bundle(path).engine_directory(target)
    if target != CPU.name:
        with open_apart(folder) as engine:
            yield _Opened(engine)
        return
    with InPortions(open_engine(folder), EngineManifest.load(folder).profiles) as portions:
        yield _Opened(portions)


def _timed_apart(bundles: Sequence[Path], target: str, sample: Feed) -> SteadyRun:
    """Latencies taken where the engines run: between processes a message would be timed with each answer."""
    folders = [Bundle(path).engine_directory(target) for path in bundles]
    manifests = [EngineManifest.load(folder) for folder in folders]
    feeds = [smallest_feed(sample, manifest) for manifest in manifests]
    feed = max(feeds, key=lambda feed: sample_count(manifests[0].inputs, feed))
    return steady_in_child(dict(zip(("first", "second"), folders, strict=True)), feed, seconds=SECONDS)


def _known_specs(
    engines: dict[str, EngineBase], first: Path, data: str, samples: int, target: str
) -> tuple[TensorSpec, ...]:
    """The first's inputs with what axis 0 counts: as a bundle knows it, else found out by running the first model."""
    specs = engines["first"].inputs
    for engine in engines.values():
        if all(spec.batch is not None for spec in engine.inputs):
            return told(specs, engine.inputs)
    if not has_open_axis(specs):
        return specs
    imported = import_model(_file(first))
    source = open_source(data, whole_samples(specs), samples=samples, **_random(first, target))
    with running_as_given(imported.path, imported.model) as given:
        return found_batching(given, imported.model, source, engines["first"].outputs).of_inputs(specs)


def _file(path: Path) -> Path:
    return path / "model.onnx" if (path / MANIFEST).is_file() else path


def _random(path: Path, target: str) -> dict[str, Any]:
    """What is known of random inputs for a bundle or a model."""
    return random_inputs(path / "engines" / target, _file(path))


def _size(path: Path, target: str) -> int:
    """Bytes of the engine that ran, external data included."""
    return model_bytes(path) if path.is_file() else EngineManifest.load(Bundle(path).engine_directory(target)).bytes
