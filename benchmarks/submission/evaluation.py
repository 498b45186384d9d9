"""The task metric over LoadGen's own answers.

An evaluation function runs its data through ``infer`` and scores the outputs. It is called twice: first with an
``infer`` that keeps every sample it is given (these become LoadGen's sample library), then, after LoadGen has run, with
an ``infer`` that gives back what LoadGen logged for those samples. So the score is that of the answers in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.accuracy.task_metric import TaskMetric
from benchmarks.batching import sample_count
from benchmarks.samples.library import FILE_BYTES, save_samples
from benchmarks.score import Score
from engines.engine import Array, Engine, Feed, TensorSpec, batchable
from engines.feeds.batching import batched_names, row
from graphs.errors import BadInput


class RecordingEngine:
    """Runs the real engine and writes every sample it sees to disk, in order."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self._engine, self._directory = engine, directory
        self._held: list[Feed] = []
        self._bytes = 0
        self.files: list[str] = []
        self.count = 0

    def infer(self, feed: Feed) -> dict[str, Array]:
        for sample in split_samples(self.inputs, feed):
            self._held.append({name: np.array(array) for name, array in sample.items()})
            self._bytes += sum(array.nbytes for array in sample.values())
            self.count += 1
        if self._bytes >= FILE_BYTES:
            self.flush()
        return self._engine.infer(feed)

    def flush(self) -> None:
        """Write what is held; call it once more at the end."""
        if self._held:
            part = self._directory / f"{len(self.files):05d}"
            self.files += save_samples(self._held, self.inputs, part)
            self._held, self._bytes = [], 0


def split_samples(specs: tuple[TensorSpec, ...], feed: Feed) -> Iterator[Feed]:
    """The samples of a feed, each with an axis 0 of one where the inputs can be joined."""
    batched = batched_names(specs)
    if not batched:
        yield feed
        return
    for number in range(sample_count(specs, feed)):
        yield row(feed, batched, number)


def record_samples(metric: TaskMetric, engine: Engine, directory: Path) -> tuple[tuple[str, ...], Score]:
    """Sample files in the order the metric asks for them, and its score by direct evaluation."""
    recording = RecordingEngine(engine, directory)
    score = metric.score(recording)  # type: ignore[arg-type]  # it needs no closing
    recording.flush()
    if not recording.count:
        raise BadInput("ran no sample through infer", where=metric.spec, fix="call infer(feed) on the evaluation data")
    return tuple(recording.files), score


class ReplayingEngine:
    """Answers the n-th sample with the n-th logged answer."""

    def __init__(self, specs: tuple[TensorSpec, ...], answers: Mapping[int, dict[str, Array]]) -> None:
        self.inputs = specs
        self._answers, self._next = answers, 0

    def infer(self, feed: Feed) -> dict[str, Array]:
        count = sample_count(self.inputs, feed)
        missing = [index for index in range(self._next, self._next + count) if index not in self._answers]
        if missing:
            raise BadInput(f"LoadGen's log holds no answer for sample {missing[0]}", where="accuracy run")
        parts = [self._answers[index] for index in range(self._next, self._next + count)]
        self._next += count
        if not batchable(self.inputs):
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
