"""Proving accuracy: every form of the model against the model as given, on held-back samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from types import TracebackType

from benchmarks.accuracy.compare import Accuracy, compare
from benchmarks.accuracy.confidence import DropBound, cosine_drop
from benchmarks.accuracy.in_part import scored_in_part
from benchmarks.accuracy.paired import PairedSums
from benchmarks.accuracy.swapping import Answers, Scored, doubt, scored
from benchmarks.accuracy.task_metric import TaskAccuracy, TaskMetric
from benchmarks.score import Evaluate
from calibration.source import SampleSource, batches
from engines.engine import Engine, EngineBase, Feed
from engines.errors import EngineError
from engines.feeds.batching import Batching
from engines.onnxruntime.divided import DividedEngine
from engines.onnxruntime.engine import OnnxRuntimeEngine, is_large
from graphs.errors import in_a_line
from graphs.storage.model_files import model_bytes
from optimizer.simulation.run import simulated
from optimizer.stages.forms.recorded import KEPT_BYTES, RecordedEngine

BATCH = 8
"""Held-back samples run together, where axis 0 counts them: more is hardly faster on a CPU. Chosen."""
PLAIN_LOSS_DB = 1.0
"""dB that ONNX Runtime's default session may be below its session without fusions, before a warning says so. Chosen."""
ALIKE_DB = 60.0
"""SQNR from which two answers count as alike: more is the rounding of float16. Chosen."""


@dataclass(frozen=True)
class BackendForm:
    """One ONNX form of the model; ``simulated`` runs it as hardware would: every half-precision tensor rounds and
    overflows, Q/DQ are executed in float."""

    path: Path
    simulated: bool


@dataclass(frozen=True)
class AccuracyCheck:
    """What held-back samples and the user's metric say of one form.

    ``drop`` is what is lost on them, ``bound`` how much that may be in truth; None where nobody asked, or it cannot be
    told, and ``unsure`` then says why in a few words. ``lost`` is the drop, of few samples without what some
    of them gain by chance.
    """

    accuracy: Accuracy
    task: TaskAccuracy | None = None
    drop: float = 0.0
    ok: bool = True
    reasons: list[str] = field(default_factory=list)
    bound: DropBound | None = None
    unsure: str = ""
    lost: float | None = None

    def surely(self, max_drop: float) -> bool:
        """Whether the drop is within ``max_drop`` with confidence, not on these samples alone."""
        return self.ok and self.bound is not None and self.bound.upper <= max_drop


class AccuracyChecker:
    """Runs forms beside the model as given; FP32's own task score is taken once.

    A context manager: it holds the FP32 engine and its answers, or, for a model too large to be in memory beside
    another, the answers alone. Of several threads it serves one at a time: the metric is the user's code.
    ``evaluate`` is the user's task metric, ``max_drop`` the budget. ``looks``: among how many forms one may be chosen
    by what is found here, which every bound allows for; 0: no bounds are asked for. ``batching`` is what was found of
    the model's first axes. ``rounded`` are integer outputs that are numbers (``graphs.reading.rounded``). ``in_part``:
    the metric may be taken on part of the samples, where that is enough for the budget.
    """

    def __init__(
        self,
        original: Path,
        held_back: SampleSource,
        evaluate: str | Evaluate | None,
        max_drop: float,
        looks: int = 0,
        batching: Batching | None = None,
        rounded: frozenset[str] = frozenset(),
        in_part: bool = False,
    ) -> None:
        self._held_back, self._max_drop, self._looks, self._in_part = held_back, max_drop, looks, in_part
        self._batching, self._rounded = batching or Batching(), rounded
        self._checking = Lock()
        self._task = TaskMetric.load(evaluate) if evaluate else None
        engine = OnnxRuntimeEngine(original, lean=True, float_products=True)
        engine.learn(held_back.specs)
        self._fp32 = self._scored(self._task, engine) if self._task else None
        self._last: tuple[Path, RecordedEngine | None] = original, None
        self._large = is_large(original)
        self._reference = RecordedEngine(engine, math.inf if self._large else KEPT_BYTES)
        if self._large:
            for feed in self._feeds():
                self._reference.infer(feed)
            self._reference.close_engine()

    def __enter__(self) -> AccuracyChecker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reference.close()

    def check(self, form: BackendForm) -> AccuracyCheck:
        """Run the form and FP32 side by side and judge the form by the budget."""
        opened = self._simulated(form.path) if form.simulated else OnnxRuntimeEngine(form.path, lean=True)
        with opened as engine, self._checking:
            return self._judged(form.path, engine, with_task=True)

    def check_float(self, path: Path, *, with_task: bool) -> AccuracyCheck:
        """Run the imported and cleaned float graph, which the CPU engine may ship, beside the model as given; the task
        metric, which takes as long as on FP32 itself, only where asked.
        """
        with OnnxRuntimeEngine(path, lean=True) as engine, self._checking:
            return self._judged(path, engine, with_task=with_task)

    def check_engine(self, engine: Engine) -> AccuracyCheck:
        """Run an engine that is open here beside FP32 and judge it by the budget."""
        return self._compared(engine, engine, with_task=True, whole=True)

    @contextmanager
    def _simulated(self, typed: Path) -> Iterator[EngineBase]:
        with simulated(typed) as engine:
            engine.learn(self._batching.of_inputs(engine.inputs), self._batching.of_outputs(engine.outputs))
            with DividedEngine(engine, model_bytes(typed)) as divided:
                yield divided

    def _judged(self, path: Path, engine: Engine, *, with_task: bool) -> AccuracyCheck:
        self._last = path, RecordedEngine(engine, most=1)
        return self._compared(engine, self._last[1], with_task=with_task)

    def _compared(self, engine: Engine, recorded: Engine, *, with_task: bool, whole: bool = False) -> AccuracyCheck:
        """``recorded`` is ``engine``, or keeps what it answers to the held-back samples; ``whole``: the metric is taken
        on all of its samples.
        """
        paired = PairedSums() if self._looks else None
        accuracy = compare(self._reference.rewind(), {"form": recorded}, self._feeds(), paired)["form"]
        if not with_task or self._task is None or self._fp32 is None:
            check = judge(accuracy, None, self._max_drop, self._rounded)
            if paired is None or accuracy.failures:
                return check
            bound = paired.bound(self._looks)
            return replace(check, bound=bound, unsure="" if bound else "too few samples")
        if self._in_part and not whole:
            after = scored_in_part(self._task, engine, self._fp32, self._max_drop, max(self._looks, 1))
        else:
            after = self._scored(self._task, engine)
        task = self._task.compare(self._fp32.score, after.score, after.ran)
        if after.doubt is not None:
            task = replace(task, sampled=after.doubt.bound)
        check = judge(accuracy, task, self._max_drop, self._rounded)
        if not self._looks or not check.ok:
            return check
        found = after.doubt or doubt(self._task, engine, self._fp32, after, self._looks)
        return replace(check, bound=found.bound, unsure=found.why, lost=found.lost)

    def _scored(self, task: TaskMetric, engine: Engine) -> Scored:
        """What the metric says of ``engine``; its answers are kept where they will be asked for."""
        if self._looks or self._in_part:
            return scored(task, engine, to_replay=self._in_part)
        return Scored(task.score(engine), Answers())

    def plain_difference(self, typed: Path) -> str:
        """Where ONNX Runtime's default session, which fuses and rewrites Q/DQ, gives other answers with ``typed`` than
        are simulated for hardware: one sentence. Empty where it does not, and for models too large to be run again.
        """
        first = next(self._feeds(), None)
        if first is None or self._large:
            return ""
        try:
            with self._checking, self._again(typed) as hardware, OnnxRuntimeEngine(typed, lean=True) as plain:
                found = compare(self._reference.rewind(), {"simulated": hardware, "plain": plain}, [first])
        except EngineError as error:
            return f"model.onnx does not run in ONNX Runtime on a CPU: {in_a_line(error)}"
        wanted, got = (min(_floats_db(found[name]), ALIKE_DB) for name in ("simulated", "plain"))
        if got >= wanted - PLAIN_LOSS_DB:
            return ""
        return (
            f"model.onnx keeps {got:.1f} dB in ONNX Runtime's default session where {wanted:.1f} dB are simulated for "
            "GPUs: on a CPU use engines/cpu, or session.disable_quant_qdq=1"
        )

    @contextmanager
    def _again(self, typed: Path) -> Iterator[Engine]:
        """``typed`` simulated, for the first feed: its answer is known where it was checked last."""
        path, answers = self._last
        if path == typed and answers is not None and answers.kept:
            yield answers.rewind()
            return
        with self._simulated(typed) as engine:
            yield engine

    def _feeds(self) -> Iterator[Feed]:
        return batches(self._held_back.samples(), BATCH, self._held_back.specs)


def _floats_db(accuracy: Accuracy) -> float:
    """SQNR of the worst float output; the cap where there is none."""
    return min((output.sqnr_db for output in accuracy.outputs.values() if output.floats), default=ALIKE_DB)


def judge(
    accuracy: Accuracy, task: TaskAccuracy | None, max_drop: float, rounded: frozenset[str] = frozenset()
) -> AccuracyCheck:
    """Within budget when the task metric loses at most ``max_drop`` of its FP32 value, or, where there is no task
    metric, when no output's cosine similarity to FP32 falls below ``1 - max_drop``. Outputs that are no floats, nor
    ``rounded`` from floats, are decisions drawn from these (labels, places of the best): they are judged, by agreement,
    where there is nothing else.
    """
    reasons = list(accuracy.failures)
    if task is not None:
        drop = task.drop / abs(task.fp32) if task.fp32 else task.drop
        if drop > max_drop:
            reasons.append(
                f"{task.metric} fell from {task.fp32:.4f} to {task.optimized:.4f}, {100 * drop:.2f} % where "
                f"{100 * max_drop:.2f} % are allowed"
            )
        return AccuracyCheck(accuracy, task, drop, not reasons, reasons)
    floats = {n: output.cosine for n, output in accuracy.outputs.items() if output.floats or n in rounded}
    figure = "cosine similarity" if floats else "agreement"
    judged = floats or {name: output.agreement for name, output in accuracy.outputs.items()}
    worst = min(judged, key=lambda name: judged[name])
    drop = cosine_drop(judged[worst])
    if drop > max_drop:
        reasons.append(
            f"output {worst!r} has {figure} {judged[worst]:.7g} to FP32 where at least {1 - max_drop:.7g} is asked "
            "(no --evaluate given)"
        )
    return AccuracyCheck(accuracy, None, drop, not reasons, reasons)
