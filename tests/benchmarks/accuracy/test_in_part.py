"""A metric on as many samples as the budget needs: what it estimates, and when it runs the rest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy.in_part import PART, scored_in_part
from benchmarks.accuracy.swapping import Scored, scored
from benchmarks.accuracy.task_metric import TaskMetric
from engines.engine import EngineBase, Feed, TensorSpec

COUNT, BATCH = 6000, 50
BUDGET = 0.01


class Answering(EngineBase):
    """Says of each sample whether it gets it right; counts the samples that it answers, and scribbles over nothing."""

    def __init__(self, right: np.ndarray) -> None:
        self._inputs = (TensorSpec("x", "int64", ("n",), batch=True),)
        self._outputs = (TensorSpec("y", "float64", ("n",), batch=True),)
        self._right, self.runs = right, 0

    def infer(self, feed: Feed) -> dict[str, Any]:
        self.runs += len(feed["x"])
        return {"y": self._right[feed["x"]].astype(np.float64)}

    def close(self) -> None: ...


def metric(order: Callable[[int], np.ndarray] = np.arange, **more: Any) -> TaskMetric:
    """Mean of the answers, asked in batches; ``order`` of the samples on each call of the metric."""

    def score(infer: Any) -> dict[str, Any]:
        ids = order(COUNT)
        answers = [infer({"x": ids[k : k + BATCH]})["y"] for k in range(0, COUNT, BATCH)]
        for answer in answers:
            answer += 0  # a metric may write into what it gets
        scores = np.concatenate(answers)
        return {"metric": "right", "value": float(scores.mean()), "per_sample": scores, **more}

    return TaskMetric("score", score)


def sides(losses: int, gains: int = 0, seed: int = 0) -> tuple[Answering, Answering]:
    rng = np.random.default_rng(seed)
    fp32 = rng.random(COUNT) < 0.9
    form = fp32.copy()
    form[rng.choice(np.flatnonzero(fp32), losses, replace=False)] = False
    form[rng.choice(np.flatnonzero(~fp32), gains, replace=False)] = True
    return Answering(fp32), Answering(form)


def before(task: TaskMetric, fp32: Answering) -> Scored:
    return scored(task, fp32, to_replay=True)


def test_a_fifth_of_the_samples_runs_where_that_shows_enough() -> None:
    task, (fp32, form) = metric(), sides(losses=12, gains=9)
    reference = before(task, fp32)
    found = scored_in_part(task, form, reference, BUDGET)
    assert found.ran is not None and form.runs == COUNT // PART
    told = task.compare(reference.score, found.score, found.ran)
    truth = task.compare(reference.score, scored(task, form).score)
    assert told.samples == COUNT and told.ci95 is not None
    assert told.ci95[0] <= truth.drop <= told.ci95[1]
    assert told.drop == pytest.approx(told.fp32 - told.optimized)


@pytest.mark.parametrize("losses", [60, 80, 200])  # 54 of 5,400 right ones are the budget
def test_what_a_fifth_does_not_settle_runs_on_all_and_no_sample_twice(losses: int) -> None:
    task, (fp32, form) = metric(), sides(losses)
    reference = before(task, fp32)
    found = scored_in_part(task, form, reference, BUDGET)
    assert found.ran is None and form.runs == COUNT
    assert found.score.value == pytest.approx((fp32._right.sum() - losses) / COUNT)


@pytest.mark.parametrize("gains", [0, 60])
def test_what_is_just_over_the_budget_passes_in_one_of_twenty_at_most(gains: int) -> None:
    task, passed, times = metric(), 0, 300
    for seed in range(times):
        fp32, form = sides(55 + gains, gains, seed)
        passed += scored_in_part(task, form, before(task, fp32), BUDGET).ran is not None
    assert passed <= 0.05 * times


def test_a_class_that_is_lost_is_found_where_calls_hold_samples_of_one_class() -> None:
    task, (fp32, _), passed = metric(), sides(0), 0
    fp32._right[:] = True
    reference = before(task, fp32)
    for first in range(0, COUNT, COUNT // 100):
        form = Answering(fp32._right.copy())
        form._right[np.arange(first, first + int(1.2 * BUDGET * COUNT)) % COUNT] = False
        passed += scored_in_part(task, form, reference, BUDGET).ran is not None
    assert passed <= 5


class OfOneSize(Answering):
    """Takes a whole batch alone."""

    def __init__(self, right: np.ndarray) -> None:
        super().__init__(right)
        self._inputs = (TensorSpec("x", "int64", (BATCH,), batch=True),)


class Padded(Answering):
    """An output that is as long as the largest of its batch says."""

    def infer(self, feed: Feed) -> dict[str, Any]:
        answer = super().infer(feed)
        return {**answer, "boxes": np.zeros((len(feed["x"]), feed["x"].max() % 7))}


@pytest.mark.parametrize("kind", [OfOneSize, Padded])
def test_calls_that_cannot_be_cut_run_whole(kind: type[Answering]) -> None:
    task, (fp32, form) = metric(), sides(losses=12)
    reference = before(task, Padded(fp32._right) if kind is Padded else fp32)
    found = scored_in_part(task, kind(form._right), reference, BUDGET)
    assert found.ran is None and found.score.value == pytest.approx((fp32._right.sum() - 12) / COUNT)


def one_by_one(ids: np.ndarray) -> TaskMetric:
    def score(infer: Any) -> dict[str, Any]:
        scores = np.concatenate([infer({"x": ids[k : k + 1]})["y"] for k in range(COUNT)])
        return {"value": float(scores.mean()), "per_sample": scores}

    return TaskMetric("score", score)


def test_samples_that_are_asked_in_another_order_get_no_answers_of_fp32() -> None:
    fp32, form = sides(losses=300)
    reference = before(one_by_one(np.arange(COUNT)), fp32)
    found = scored_in_part(one_by_one(np.random.default_rng(5).permutation(COUNT)), form, reference, BUDGET)
    assert found.ran is None and found.score.value == pytest.approx((fp32._right.sum() - 300) / COUNT)


def test_scores_that_are_no_zeros_and_ones_are_bounded_by_the_bootstrap() -> None:
    task, (fp32, form) = metric(), sides(0)
    rng = np.random.default_rng(3)
    fp32._right = 1 + rng.random(COUNT)
    form._right = fp32._right + rng.normal(0, 0.01, COUNT)
    reference = before(task, fp32)
    found = scored_in_part(task, form, reference, BUDGET)
    assert found.ran is not None and form.runs == COUNT // PART
    assert found.score.value == pytest.approx(form._right.mean(), abs=1e-3)


def test_a_loss_counts_as_a_loss_where_lower_is_better() -> None:
    task = metric(higher_is_better=False)
    fp32, form = sides(0)
    fp32._right, form._right = form._right * 1.0, form._right * 1.0
    form._right[::10] += 1.0  # a tenth more of what should be low
    reference = before(task, fp32)
    assert scored_in_part(task, form, reference, BUDGET).ran is None
    form._right = fp32._right * 0.9
    assert scored_in_part(task, form, reference, BUDGET).ran is not None


ORDERS = {"sorted": np.sort, "reversed": np.flip, "each twice": lambda scores: np.repeat(scores, 2)}


def reordered(order: str) -> TaskMetric:
    def score(infer: Any) -> dict[str, Any]:
        ids = np.arange(COUNT)
        scores = np.concatenate([infer({"x": ids[k : k + BATCH]})["y"] for k in range(0, COUNT, BATCH)])
        return {"metric": "right", "value": float(scores.mean()), "per_sample": ORDERS[order](scores)}

    return TaskMetric("score", score)


@pytest.mark.parametrize("order", ORDERS)
def test_scores_in_another_order_than_the_calls_are_not_taken_in_part(order: str) -> None:
    task, (fp32, form) = reordered(order), sides(losses=20)
    found = scored_in_part(task, form, before(task, fp32), BUDGET)
    assert found.ran is None and form.runs == COUNT
    assert found.score.value == pytest.approx((fp32._right.sum() - 20) / COUNT)


def test_a_metric_that_asks_otherwise_each_time_gets_its_answers() -> None:
    rng = np.random.default_rng(0)
    task, (fp32, form) = metric(order=rng.permutation), sides(losses=5)
    found = scored_in_part(task, form, before(task, fp32), BUDGET)
    assert found.ran is None
    assert found.score.value == pytest.approx((fp32._right.sum() - 5) / COUNT)


def test_a_metric_that_asks_from_several_threads_gets_its_answers() -> None:
    """Its answers may come in any order: each is the one to its feed."""

    def score(infer: Any) -> dict[str, Any]:
        with ThreadPoolExecutor(4) as pool:
            asked = pool.map(lambda k: infer({"x": np.arange(k, k + BATCH)})["y"], range(0, COUNT, BATCH))
            scores = np.concatenate(list(asked))
        return {"value": float(scores.mean()), "per_sample": scores}

    task, (fp32, form) = TaskMetric("score", score), sides(losses=200)
    found = scored_in_part(task, form, before(task, fp32), BUDGET)
    assert found.ran is None and found.score.value == pytest.approx((fp32._right.sum() - 200) / COUNT)


def one_number(infer: Any) -> float:
    return float(np.concatenate([infer({"x": np.arange(k, k + 50)})["y"] for k in range(0, COUNT, 50)]).mean())


def in_percent(infer: Any) -> dict[str, Any]:
    scores = np.concatenate([infer({"x": np.arange(k, k + 50)})["y"] for k in range(0, COUNT, 50)])
    return {"value": 100 * float(scores.mean()), "per_sample": scores}


def few_samples(infer: Any) -> dict[str, Any]:
    scores = np.concatenate([infer({"x": np.arange(k, k + 5)})["y"] for k in range(0, 300, 5)])
    return {"value": float(scores.mean()), "per_sample": scores}


@pytest.mark.parametrize("function", [one_number, in_percent, few_samples])
def test_a_metric_that_cannot_be_taken_in_part_is_asked_once(function: Callable[[Any], object]) -> None:
    task, (fp32, form) = TaskMetric("score", function), sides(losses=2)
    reference = before(task, fp32)
    calls = fp32.runs
    assert scored_in_part(task, form, reference, BUDGET).ran is None
    assert form.runs == calls


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 1000))
def test_no_form_passes_in_part_that_loses_twice_the_budget(losses: int, gains: int, seed: int) -> None:
    task, (fp32, form) = metric(), sides(losses + 110, gains, seed)
    assert scored_in_part(task, form, before(task, fp32), BUDGET / 2).ran is None
