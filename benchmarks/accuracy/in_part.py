"""A user's metric on as many samples as a budget needs: of each few one is run, the others answered as FP32 did.

What the candidate loses on the samples that ran is, per sample, what it loses on all of them. ``confidence`` bounds it
as it does on all. Only where that bound is within the budget the rest is left out: a drop over the budget then passes
in one of twenty cases at most, while the drop on all samples, which has no bound, passes every second one that is just
over. Where it is not, the rest is run too, and what ran is not run again.

Samples are drawn, not calls: those of one call may be alike (images that lie in a folder by class), and a class that
the candidate has lost then falls between the calls.

It takes scores by sample: a metric that is one number (recall, mAP, BLEU) does not change in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from benchmarks.accuracy.confidence import least_bound
from benchmarks.accuracy.swapping import Answers, Scored, copied, doubt, feed_digest, scored
from benchmarks.accuracy.task_metric import TaskMetric
from benchmarks.score import Score
from engines.engine import Array, Engine, EngineBase, Feed

PART = 5
"""Of so many samples in a row one is run. Chosen: the interval of a drop is 2.2 times as wide as of all samples."""


@dataclass(frozen=True)
class _Known:
    """An answer, and which of its samples are the candidate's own, [samples] bool; the others are FP32's."""

    answer: Mapping[str, Array]
    own: Array


class _InPart(EngineBase):
    """``engine`` for some samples of the feeds that are ``known``, by digest: those that ``runs`` says by call,
    [samples] bool each, or, where it is None, those that it has not answered yet. Other feeds it answers whole.

    ``batched`` names the inputs whose axis 0 counts samples. ``feeds`` are the digests of all calls, ``answered`` what
    came of them.
    """

    def __init__(
        self, engine: Engine, known: Mapping[str, _Known], batched: Sequence[str], runs: Sequence[Array] | None = None
    ) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._engine, self._known, self._batched, self._runs = engine, known, batched, runs
        self._calling = Lock()
        self.feeds: list[str] = []
        self.answered: dict[str, _Known] = {}

    def infer(self, feed: Feed) -> dict[str, Array]:
        digest = feed_digest(feed)
        with self._calling:  # a metric may ask from several threads
            call = len(self.feeds)
            self.feeds.append(digest)
        known = self._known.get(digest)
        if known is None:
            answer, own = self._engine.infer(feed), np.ones(1, bool)
        else:
            runs = self._wanted(call, known)
            answer, own = self._completed(feed, known.answer, runs), known.own | runs
        self.answered[digest] = _Known(copied(answer), own)
        return answer

    def _wanted(self, call: int, known: _Known) -> Array:
        if self._runs is None:
            return ~known.own
        planned = call < len(self._runs) and len(self._runs[call]) == len(known.own)
        return self._runs[call] if planned else np.ones_like(known.own)

    def _completed(self, feed: Feed, known: Mapping[str, Array], runs: Array) -> dict[str, Array]:
        """``known`` with the engine's own answers to the samples that ``runs``."""
        answer = copied(known)
        if not runs.any():
            return answer
        if not runs.all():
            part = self._engine.infer({n: a[runs] if n in self._batched else a for n, a in feed.items()})
            if all(_alike(answer[name][runs], array) for name, array in part.items()):
                for name, array in part.items():
                    answer[name][runs] = array
                return answer
        return self._engine.infer(feed)

    def close(self) -> None:
        """The engine is another's."""


def scored_in_part(task: TaskMetric, engine: Engine, before: Scored, max_drop: float, looks: int = 1) -> Scored:
    """Ask the metric of ``engine``: on part of the samples where these show that it loses at most ``max_drop`` of
    ``before``, FP32's score, else on all. ``before`` has ``feeds`` beside its answers.
    """
    answers = before.answers
    ran = _drawn(answers.total)
    if not _worth_it(before, ran, max_drop, looks) or not _can_be_cut(engine, answers):
        return scored(task, engine)
    runs = np.split(ran, np.cumsum(answers.samples)[:-1])
    fp32 = {
        digest: _Known(answer, np.zeros(count, bool))
        for digest, answer, count in zip(answers.feeds, answers.outputs, answers.samples, strict=True)
    }
    part = _InPart(engine, fp32, answers.batched, runs)
    score = task.score(part)
    if part.feeds == answers.feeds and _tells_samples(before.score, score, ran):
        found = Scored(replace(score, value=before.score.value - _difference(before.score, score, ran)), Answers(), ran)
        judged = doubt(task, engine, before, found, looks)
        if judged.bound is not None and judged.bound.upper <= max_drop:
            return replace(found, doubt=judged)
    return scored(task, _InPart(engine, part.answered, answers.batched))


def _drawn(samples: int) -> Array:
    """Which of the samples run, [samples] bool: one at random of each ``PART`` neighbours, so that neither sorted ones
    nor such as come in turns are left out; always the same.
    """
    starts = np.arange(0, samples, PART)
    at = starts + np.random.default_rng(0).integers(0, PART, len(starts))
    runs = np.zeros(samples, bool)
    runs[at[at < samples]] = True
    return runs


def _can_be_cut(engine: Engine, answers: Answers) -> bool:
    """Whether samples of a call can run without the others: ``engine`` takes any number, and all outputs count them."""
    if all(count == 1 for count in answers.samples):
        return True
    counted = all(
        array.ndim and len(array) == count
        for answer, count in zip(answers.outputs, answers.samples, strict=True)
        for array in answer.values()
    )
    return counted and all(isinstance(s.shape[0], str) for s in engine.inputs if s.name in answers.batched)


def _alike(first: Array, second: Array) -> bool:
    """An output may have another type, or an axis that is as long as the largest of a batch."""
    return first.shape == second.shape and first.dtype == second.dtype


def _worth_it(before: Scored, ran: Array, max_drop: float, looks: int) -> bool:
    """Whether there are scores by sample, answers to replay, and enough of both for the budget."""
    answers, scores = before.answers, before.score.per_sample
    if scores is None or not answers.whole or len(answers.feeds) != len(answers.samples):
        return False
    if len(scores) != answers.total or not np.isclose(scores.mean(), before.score.value, rtol=1e-6, atol=1e-9):
        return False
    return least_bound(int(ran.sum()), looks) <= max_drop * (abs(before.score.value) or 1.0)


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
