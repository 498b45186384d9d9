"""The task metric of a user's own evaluation: ``--evaluate file.py:function``.

The function gets ``infer``, a callable from a feed to the outputs by name, runs its own data through it and returns
its score: a number, or a dict with ``metric`` (name), ``value``, and optionally ``per_sample`` (one score per sample,
whose mean is the value), ``higher_is_better`` (default True) and ``samples``. It is called once with the
FP32 engine and once per candidate; per-sample scores give the drop a confidence interval from paired differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from benchmarks.accuracy.confidence import DropBound
from benchmarks.score import Evaluate, Infer, Score
from engines.engine import Array, Engine, Feed
from engines.user_code import RAISED, check_named, describe, load_callable, where_it_left_off
from graphs.errors import BadInput, EnginewrightError

CONTRACT = "function(infer) returning a number or a dict with 'metric' and 'value'"
WORKLOAD_PREFIX = "workload:"  # --evaluate workload:resnet50:DATASET
NORMAL_95 = 1.959964  # 97.5th percentile of the standard normal distribution


@dataclass(frozen=True)
class TaskAccuracy:
    """A task metric before and after. ``drop`` is positive where the candidate is worse, in the metric's own unit;
    ``ci95`` is its 95 % interval from paired per-sample scores, None where the function returned none. ``sampled``,
    where the candidate ran on part of the ``samples`` alone: how many these were, and how large the drop over all may
    be; ``optimized`` and ``drop`` are then what they let expect.
    """

    metric: str
    fp32: float
    optimized: float
    drop: float
    ci95: tuple[float, float] | None
    samples: int
    higher_is_better: bool = True
    sampled: DropBound | None = None


@runtime_checkable
class ScoresEngine(Protocol):
    """An evaluation that wants the engine itself, to know its inputs: a workload's."""

    def __call__(self, infer: Infer) -> object: ...

    def score(self, engine: Engine) -> Score: ...


@dataclass(frozen=True)
class TaskMetric:
    """The user's evaluation; ``spec`` names it in messages."""

    spec: str
    function: Evaluate

    @staticmethod
    def load(evaluate: str | Evaluate) -> TaskMetric:
        """From a function or ``file.py:name``. Raises ``BadInput`` where there is none."""
        if isinstance(evaluate, str) and evaluate.startswith(WORKLOAD_PREFIX):
            from benchmarks.workloads.evaluate import WorkloadEvaluation

            return TaskMetric(evaluate, WorkloadEvaluation.of(evaluate.removeprefix(WORKLOAD_PREFIX)))
        if isinstance(evaluate, str):
            return TaskMetric(evaluate, load_callable(evaluate))
        return TaskMetric(getattr(evaluate, "__name__", repr(evaluate)), evaluate)

    def score(self, engine: Engine) -> Score:
        """One call of the user's function, its result checked. Raises ``BadInput`` for an unusable one."""
        if isinstance(self.function, ScoresEngine):
            return self.function.score(engine)
        try:
            with where_it_left_off():
                returned = self.function(_fed_as_wanted(engine))
        except EnginewrightError:
            raise
        except RAISED as error:
            raise BadInput(f"raised {describe(error)}", where=self.spec, expected=CONTRACT) from error
        return _as_score(self.spec, returned)

    def compare(self, before: Score, after: Score, ran: Array | None = None) -> TaskAccuracy:
        """The drop from ``before`` to ``after`` with its interval; ``ran`` says which samples that is drawn from."""
        return compare_scores(self.spec, before, after, ran)


def check_evaluation(evaluate: str | Evaluate | None) -> None:
    """Raises ``BadInput`` for ``file.py:function`` that is not there, before anything is run."""
    if isinstance(evaluate, str) and not evaluate.startswith(WORKLOAD_PREFIX):
        check_named(evaluate)


def _fed_as_wanted(engine: Engine) -> Callable[[Feed], dict[str, Array]]:
    """``engine.infer`` for a metric that was written for other float types: what it feeds becomes the input's own, and
    then half-precision outputs are float32, for numpy computes little in them.
    """
    wanted = {spec.name: spec.numpy_dtype() for spec in engine.inputs if "float" in spec.dtype}

    def infer(feed: Feed) -> dict[str, Array]:
        arrays = {name: array for name, array in feed.items() if name in wanted and isinstance(array, np.ndarray)}
        odd = [n for n, a in arrays.items() if "float" in str(a.dtype) and a.dtype != wanted[n]]
        if not odd:
            return engine.infer(feed)
        answer = engine.infer({**feed, **{name: feed[name].astype(wanted[name]) for name in odd}})
        return {n: a.astype(np.float32) if str(a.dtype) in ("float16", "bfloat16") else a for n, a in answer.items()}

    return infer


def evaluate_task(
    evaluate: str | Evaluate, reference: Engine, candidates: Mapping[str, Engine]
) -> dict[str, TaskAccuracy]:
    """Score the reference once and every candidate against it. Raises ``BadInput`` naming what is wrong."""
    task = TaskMetric.load(evaluate)
    before = task.score(reference)
    return {label: task.compare(before, task.score(engine)) for label, engine in candidates.items()}


def _as_score(spec: str, returned: object) -> Score:
    if not isinstance(returned, Mapping):
        return Score("score", _as_number(spec, returned))
    if "value" not in returned:
        raise BadInput("returned a dict without 'value'", where=spec, expected=CONTRACT)
    per_sample = _as_scores(spec, returned.get("per_sample"))
    return Score(
        metric=str(returned.get("metric", "score")),
        value=_as_number(spec, returned["value"]),
        per_sample=per_sample,
        higher_is_better=bool(returned.get("higher_is_better", True)),
        samples=len(per_sample) if per_sample is not None else int(returned.get("samples", 0)),
    )


def _as_number(spec: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number, np.ndarray)) or np.size(value) != 1:
        raise BadInput(f"returned {type(value).__name__}, not a number", where=spec, expected=CONTRACT)
    number = float(np.asarray(value).reshape(()))
    if not math.isfinite(number):
        raise BadInput(f"returned {number}", where=spec, expected="a finite score", fix="check the evaluation data")
    return number


def _as_scores(spec: str, values: object) -> Array | None:
    if values is None:
        return None
    try:
        scores = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"'per_sample' is not an array of numbers: {error}", where=spec) from error
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise BadInput("'per_sample' must hold one finite number per sample", where=spec)
    return scores


def compare_scores(spec: str, before: Score, after: Score, ran: Array | None = None) -> TaskAccuracy:
    """The drop from ``before`` to ``after`` with its interval, from the samples that ``ran``, [samples] bool."""
    sign = 1.0 if before.higher_is_better else -1.0
    drop = sign * (before.value - after.value)
    return TaskAccuracy(
        metric=before.metric,
        fp32=before.value,
        optimized=after.value,
        drop=drop,
        ci95=_interval(spec, drop, sign, before.per_sample, after.per_sample, ran),
        samples=before.samples,
        higher_is_better=before.higher_is_better,
    )


def _interval(
    spec: str, drop: float, sign: float, before: Array | None, after: Array | None, ran: Array | None
) -> tuple[float, float] | None:
    """Normal approximation of the mean paired difference: drop +- 1.96 s / sqrt(n)."""
    if before is None or after is None:
        return None
    if len(before) != len(after):
        raise BadInput(f"scored {len(before)} samples with FP32 and {len(after)} with the candidate", where=spec)
    if ran is not None:
        before, after = before[ran], after[ran]
    if len(before) < 2:
        return None
    half = NORMAL_95 * float(np.std(sign * (before - after), ddof=1)) / math.sqrt(len(before))
    return drop - half, drop + half
