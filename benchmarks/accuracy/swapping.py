"""How sure a drop is where the user's metric is one number: which samples it hangs on, found by asking it again.

The answers of FP32 and of the candidate are recorded while the metric is taken. Then the metric is asked again without
any engine: the candidate's answers are replayed, those of one group of samples replaced by FP32's. What that wins back
is the group's part of the drop. From one group to the next the parts differ as they would with other samples, so the
bootstrap over groups bounds the drop (a grouped jackknife's influence values, after Efron, 1992, here by replacing
answers instead of leaving samples out, which a function with labels of its own does not allow).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock

import numpy as np

from benchmarks.accuracy.confidence import FEWEST, DropBound, score_bound
from benchmarks.accuracy.task_metric import TaskMetric
from benchmarks.batching import sample_count
from benchmarks.score import Score
from engines.engine import Array, Engine, EngineBase, Feed
from engines.feeds.batching import batched_names
from graphs.digests import digest_of, sample_parts
from graphs.errors import EnginewrightError

FEW = 100
"""Samples below which a gain of one is luck, not to be set against the loss of another. Chosen: of ten images one lost
and one found box are each a tenth of the metric; of hundreds they average out."""
KEPT_BYTES = 256 << 20
"""Answers that are kept of each side; beyond, the metric is not asked again. Chosen."""
GROUPS = 24
"""Groups of samples, so many calls of the metric: Student's factor is then 1.04. Chosen."""
SECONDS = 20.0
"""All those calls may take; fewer groups where the metric is slow. Chosen: what a user waits for without a question."""


@dataclass
class Answers:
    """Outputs by call of ``infer``, in order, and how many samples each call held; ``whole`` is False where they were
    too large to keep. ``feeds`` are the digests of what was asked, where they were wanted; ``batched`` names the inputs
    whose axis 0 counts the samples.
    """

    outputs: list[dict[str, Array]] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    whole: bool = True
    feeds: list[str] = field(default_factory=list)
    batched: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.samples)


@dataclass(frozen=True)
class Scored:
    """A score and the answers that it was taken of. ``ran`` says which samples the engine answered, [samples] bool;
    None: all. The others' scores are FP32's, the value is what those that ran let expect of all, and ``doubt`` how far
    it may be trusted.
    """

    score: Score
    answers: Answers
    ran: Array | None = None
    doubt: Doubt | None = None


class _Recording(EngineBase):
    """``engine``, whose answers are kept, and the digests of its feeds where ``with_feeds``."""

    def __init__(self, engine: Engine, answers: Answers, with_feeds: bool) -> None:
        self._engine, self._answers, self._bytes, self._with_feeds = engine, answers, 0, with_feeds
        self._recording = Lock()
        self._inputs, self._outputs = engine.inputs, engine.outputs

    def infer(self, feed: Feed) -> dict[str, Array]:
        digests, answer = [feed_digest(feed)] if self._with_feeds else [], self._engine.infer(feed)
        with self._recording:  # a metric may ask from several threads
            self._answers.feeds += digests
            self._record(feed, answer)
        return answer

    def _record(self, feed: Feed, answer: Mapping[str, Array]) -> None:
        self._answers.samples.append(sample_count(self._inputs, feed) if self._inputs else 1)
        self._bytes += sum(array.nbytes for array in answer.values())
        if self._bytes > KEPT_BYTES:
            self._answers.whole = False
            self._answers.outputs.clear()
        if self._answers.whole:
            self._answers.outputs.append(copied(answer))

    def close(self) -> None:
        """The engine is another's."""


class _Replaying(EngineBase):
    """Answers as recorded of ``given``; of the samples in ``swapped`` ([samples], bool) as of ``others``."""

    def __init__(self, engine: Engine, given: Answers, others: Answers, swapped: Array) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._given, self._others, self._swapped = given, others, swapped
        self._call = self._sample = 0

    def infer(self, feed: Feed) -> dict[str, Array]:
        call, start = self._call, self._sample
        if call >= len(self._given.outputs):
            raise EnginewrightError("the metric asked for more answers than before", where="evaluation")
        self._call, self._sample = call + 1, start + self._given.samples[call]
        mine, theirs = self._given.outputs[call], self._others.outputs[call]
        rows = self._swapped[start : self._sample]
        if rows.all() or not rows.any():
            return copied(theirs if rows.all() else mine)
        return {name: _mixed(array, theirs[name], rows) for name, array in mine.items()}

    def close(self) -> None:
        """There is nothing to close."""


def _mixed(mine: Array, theirs: Array, rows: Array) -> Array:
    if mine.shape != theirs.shape or not mine.ndim or len(mine) != len(rows):
        return theirs if rows.mean() > 0.5 else mine
    return np.where(rows.reshape(-1, *(1,) * (mine.ndim - 1)), theirs, mine)


def feed_digest(feed: Feed) -> str:
    """What tells one feed from another."""
    return digest_of(sample_parts(feed))


def copied(answer: Mapping[str, Array]) -> dict[str, Array]:
    """``answer`` in arrays of its own: a metric may write into those it gets."""
    return {name: np.array(array) for name, array in answer.items()}


def scored(task: TaskMetric, engine: Engine, *, to_replay: bool = False) -> Scored:
    """Ask the metric of ``engine`` and keep the answers; with ``to_replay`` also where the metric scores every sample,
    and the digests of what was asked.
    """
    answers = Answers(batched=batched_names(engine.inputs))
    score = task.score(_Recording(engine, answers, to_replay))
    if score.per_sample is not None and not to_replay:
        answers.whole = False
        answers.outputs.clear()
    return Scored(score, answers)


@dataclass(frozen=True)
class Doubt:
    """How far a drop is to be trusted: its ``bound``, None where there is none, and ``why`` in a few words; ``lost`` is
    what is lost as a fraction of FP32's value, of fewer than ``FEW`` samples without what some of them gain by chance.
    """

    bound: DropBound | None
    why: str = ""
    lost: float | None = None


def doubt(task: TaskMetric, engine: Engine, before: Scored, after: Scored, looks: int = 1) -> Doubt:
    """What the samples say of the drop from ``before``, FP32's, to ``after``."""
    sign, value = (1.0 if before.score.higher_is_better else -1.0), before.score.value
    first, second = before.score.per_sample, after.score.per_sample
    if first is not None and second is not None:
        if after.ran is not None:
            first, second = first[after.ran], second[after.ran]
        binary = bool(np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all())
        unit = max(float(np.ptp(first)), float(np.ptp(second)), abs(value) if not binary else 1.0)
        by_sample = sign * (first - second)
        found = score_bound(by_sample, value, binary, looks, unit)
        why = "" if found else f"the metric scored {len(first)} samples"
        return Doubt(found, why, _losses(by_sample / len(first), len(first)) / (abs(value) or 1.0))
    if not before.answers.whole or not after.answers.whole:
        return Doubt(None, "the answers are too large to be kept, and the metric returns no 'per_sample'")
    if before.answers.samples != after.answers.samples:
        return Doubt(None, "the metric did not ask FP32 and the candidate alike")
    parts, why = _parts(task, engine, before, after)
    if why:
        return Doubt(None, why)
    lost, count = sign * parts * len(parts), before.answers.total
    found = score_bound(lost, value, False, looks, unit=abs(value) or 1.0, samples=count)
    losses = _losses(sign * parts, count) / (abs(value) or 1.0)
    if found is None:
        return Doubt(None, f"{count} samples in {len(parts)} groups are too few", losses)
    drop = sign * (value - after.score.value)
    upper = found.upper + (drop - float(np.mean(lost))) / (abs(value) or 1.0)
    how = f"paired bootstrap over {len(parts)} groups of samples, the metric asked again of swapped answers"
    return Doubt(DropBound(upper, found.level, count, how, found.least, looks), "", losses)


def _losses(lost: Array, samples: int) -> float:
    """The sum of ``lost``; where the samples are few of what is lost alone."""
    return float(np.maximum(lost, 0.0).sum() if samples < FEW else lost.sum())


def _parts(task: TaskMetric, engine: Engine, before: Scored, after: Scored) -> tuple[Array, str]:
    """What each group's FP32 answers win back of the metric, [groups], and why not, where they cannot be found."""
    started = time.perf_counter()
    none = np.zeros(after.answers.total, bool)
    again = task.score(_Replaying(engine, after.answers, before.answers, none)).value
    if not np.isclose(again, after.score.value, rtol=1e-9, atol=1e-12):
        return none[:0], "the metric does not say the same of the same answers"
    affordable = int(SECONDS / max(time.perf_counter() - started, 1e-6))
    groups = _groups(after.answers.samples, min(GROUPS, affordable))
    if affordable < FEWEST:
        return none[:0], "the metric is too slow to be asked again"
    values = [task.score(_Replaying(engine, after.answers, before.answers, group)).value for group in groups]
    return np.array(values) - after.score.value, ""


def _groups(samples: Sequence[int], most: int) -> list[Array]:
    """Which samples belong to each group, [samples] bool: neighbours, whole calls where there are enough of these."""
    total, ends = sum(samples), np.cumsum(samples)
    if len(samples) >= most:
        edges = [0, *(int(ends[part[-1]]) for part in np.array_split(np.arange(len(samples)), most) if len(part))]
    else:
        edges = [0, *(int(part[-1]) + 1 for part in np.array_split(np.arange(total), min(most, total)) if len(part))]
    at = np.arange(total)
    return [(at >= start) & (at < end) for start, end in pairwise(edges)]
