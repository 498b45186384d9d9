"""A metric that is one number: which samples its drop hangs on, found without running an engine again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import swapping
from benchmarks.accuracy.confidence import score_bound
from benchmarks.accuracy.swapping import doubt, scored
from benchmarks.accuracy.task_metric import TaskMetric
from engines.engine import EngineBase, Feed, TensorSpec

COUNT, BATCH = 240, 8
LABELS = np.random.default_rng(0).integers(0, 2, COUNT)


class Answering(EngineBase):
    """Says 1 or 0 of each sample, right but for ``wrong``; counts its runs."""

    def __init__(self, wrong: np.ndarray) -> None:
        self._inputs = (TensorSpec("x", "int64", ("n",), batch=True),)
        self._outputs = (TensorSpec("y", "int64", ("n",), batch=True),)
        self._wrong, self.runs = wrong, 0

    def infer(self, feed: Feed) -> dict[str, Any]:
        self.runs += 1
        return {"y": np.where(self._wrong[feed["x"]], 1 - LABELS[feed["x"]], LABELS[feed["x"]])}

    def close(self) -> None: ...


def accuracy(batch: int = BATCH) -> Callable[[Any], float]:
    def metric(infer: Any) -> float:
        ids = np.arange(COUNT)
        right = [infer({"x": ids[k : k + batch]})["y"] == LABELS[k : k + batch] for k in range(0, COUNT, batch)]
        return float(np.concatenate(right).mean())

    return metric


def engines(losses: int = 12) -> tuple[Answering, Answering]:
    rng = np.random.default_rng(1)
    fp32 = rng.random(COUNT) < 0.1
    int8 = fp32.copy()
    int8[rng.choice(np.flatnonzero(~fp32), losses, replace=False)] = True
    return Answering(fp32), Answering(int8)


@pytest.mark.parametrize("batch", [1, BATCH, COUNT])
def test_the_bound_is_near_the_one_of_scores_by_sample(batch: int) -> None:
    fp32, int8 = engines()
    task = TaskMetric("score", accuracy(batch))
    before, after = scored(task, fp32), scored(task, int8)
    runs = int8.runs
    told_of = doubt(task, int8, before, after)
    found, why = told_of.bound, told_of.why
    assert int8.runs == runs and not why
    lost = int8._wrong.astype(float) - fp32._wrong.astype(float)
    told = score_bound(lost, before.score.value, binary=True)
    assert found is not None and told is not None and found.samples == COUNT
    assert found.upper == pytest.approx(told.upper, rel=0.25) and found.upper > before.score.value - after.score.value


def test_scores_by_sample_are_used_where_the_metric_has_them() -> None:
    fp32, int8 = engines()

    def metric(infer: Any) -> dict[str, Any]:
        right = infer({"x": np.arange(COUNT)})["y"] == LABELS
        return {"metric": "top-1", "value": right.mean(), "per_sample": right.astype(float)}

    task = TaskMetric("score", metric)
    found = doubt(task, int8, scored(task, fp32), scored(task, int8)).bound
    assert found is not None and "Tango" in found.how


def test_a_metric_that_does_not_say_the_same_twice_has_no_bound() -> None:
    fp32, int8 = engines()
    rng = np.random.default_rng(2)
    task = TaskMetric("score", lambda infer: accuracy()(infer) + rng.normal())
    found = doubt(task, int8, scored(task, fp32), scored(task, int8))
    assert found.bound is None and "same answers" in found.why


def test_answers_too_large_to_keep_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "KEPT_BYTES", 100)
    fp32, int8 = engines()
    task = TaskMetric("score", accuracy())
    found = doubt(task, int8, scored(task, fp32), scored(task, int8))
    assert found.bound is None and "too large" in found.why


def test_three_samples_are_too_few() -> None:
    fp32, int8 = engines()
    task = TaskMetric("score", lambda infer: float(infer({"x": np.arange(3)})["y"].mean()))
    found = doubt(task, int8, scored(task, fp32), scored(task, int8))
    assert found.bound is None and "3 samples" in found.why and found.lost is not None


@pytest.mark.parametrize("few", [0, 10 * COUNT])
def test_of_few_samples_gains_are_not_set_against_losses(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "FEW", few)
    fp32 = Answering(np.arange(COUNT) % 10 == 0)
    int8 = Answering(np.arange(COUNT) < COUNT // 10)  # as many wrong, all of them together
    task = TaskMetric("score", accuracy(1))
    found = doubt(task, int8, scored(task, fp32), scored(task, int8))
    assert found.lost == pytest.approx(0.1 if few else 0.0, abs=0.02)
