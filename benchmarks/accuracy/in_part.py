"""A user's metric on as many samples as a budget needs: of each few calls one is run, the others answered as FP32 did.

What the candidate loses on the samples that ran is, per sample, what it loses on all of them. ``confidence`` bounds it
as it does on all. Only where that bound is within the budget the rest is left out: a drop over the budget then passes
in one of twenty cases at most, while the drop on all samples, which has no bound, passes every second one that is just
over. Where it is not, the rest is run too, and what ran is not run again.

It takes scores by sample: a metric that is one number (recall, mAP, BLEU) does not change in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock

import numpy as np

from benchmarks.accuracy.confidence import FEWEST, least_bound
from benchmarks.accuracy.swapping import Answers, Scored, copied, doubt, feed_digest, scored
from benchmarks.accuracy.task_metric import TaskMetric
from benchmarks.score import Score
from engines.engine import Array, Engine, EngineBase, Feed

PART = 5
"""Of so many calls in a row one is run. Chosen: the interval of a drop is 2.2 times as wide as of all samples."""


class _InPart(EngineBase):
    """``engine`` for the calls that are not ``left_out`` ([calls], bool); for these what ``known`` has of their feeds.
    ``feeds`` are the digests of all calls, ``own`` what ``engine`` answered.
    """

    def __init__(self, engine: Engine, known: Mapping[str, Mapping[str, Array]], left_out: Array) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._engine, self._known, self._left_out, self._calling = engine, known, left_out, Lock()
        self.feeds: list[str] = []
        self.own: dict[str, dict[str, Array]] = {}

    def infer(self, feed: Feed) -> dict[str, Array]:
        digest = feed_digest(feed)
        with self._calling:  # a metric may ask from several threads
            call = len(self.feeds)
            self.feeds.append(digest)
        if call < len(self._left_out) and self._left_out[call] and digest in self._known:
            return copied(self._known[digest])
        answer = self._engine.infer(feed)
        self.own[digest] = copied(answer)
        return answer

    def close(self) -> None:
        """The engine is another's."""


def scored_in_part(task: TaskMetric, engine: Engine, before: Scored, max_drop: float, looks: int = 1) -> Scored:
    """Ask the metric of ``engine``: on part of the samples where these show that it loses at most ``max_drop`` of
    ``before``, FP32's score, else on all. ``before`` has ``feeds`` beside its answers.
    """
    runs = _drawn(len(before.answers.samples))
    if not _worth_it(before, runs, max_drop, looks):
        return scored(task, engine)
    known = dict(zip(before.answers.feeds, before.answers.outputs, strict=True))
    part = _InPart(engine, known, ~runs)
    score = task.score(part)
    ran = np.repeat(runs, before.answers.samples)
    if part.feeds == before.answers.feeds and _tells_samples(before.score, score, ran):
        found = Scored(replace(score, value=before.score.value - _difference(before.score, score, ran)), Answers(), ran)
        bound = doubt(task, engine, before, found, looks).bound
        if bound is not None and bound.upper <= max_drop:
            return found
    everything = np.ones(len(part.feeds), bool)
    return scored(task, _InPart(engine, part.own, everything))


def _drawn(calls: int) -> Array:
    """Which of the calls run, [calls] bool: one at random of each ``PART`` neighbours, so that neither sorted samples
    nor such as come in turns are left out; always the same.
    """
    starts = np.arange(0, calls, PART)
    at = starts + np.random.default_rng(0).integers(0, PART, len(starts))
    runs = np.zeros(calls, bool)
    runs[at[at < calls]] = True
    return runs


def _worth_it(before: Scored, runs: Array, max_drop: float, looks: int) -> bool:
    """Whether there are scores by sample, answers to replay, and enough of both for the budget."""
    answers, scores = before.answers, before.score.per_sample
    if scores is None or not answers.whole or len(answers.feeds) != len(answers.samples) or runs.sum() < FEWEST:
        return False
    if len(scores) != answers.total or not np.isclose(scores.mean(), before.score.value, rtol=1e-6, atol=1e-9):
        return False
    count = int(np.repeat(runs, answers.samples).sum())
    return least_bound(count, looks) <= max_drop * (abs(before.score.value) or 1.0)


def _tells_samples(before: Score, after: Score, ran: Array) -> bool:
    """Whether the scores lie in the order of the calls: those of the samples that did not run are then FP32's."""
    first, second = before.per_sample, after.per_sample
    if first is None or second is None or len(first) != len(second):
        return False
    mean = np.isclose(second.mean(), after.value, rtol=1e-6, atol=1e-9)
    return bool(mean and np.array_equal(first[~ran], second[~ran]))


def _difference(before: Score, after: Score, ran: Array) -> float:
    assert before.per_sample is not None and after.per_sample is not None
    return float(np.mean(before.per_sample[ran] - after.per_sample[ran]))
