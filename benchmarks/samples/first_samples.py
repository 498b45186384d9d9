"""A task cut short: the first samples of a dataset, for a quick look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.score import Score
from benchmarks.task import Task
from engines.engine import Array, Feed


class FirstSamples:
    """The first ``count`` samples of ``task``."""

    def __init__(self, task: Task, count: int) -> None:
        self._task, self._count = task, min(count, len(task))

    def __len__(self) -> int:
        return self._count

    def feed(self, index: int) -> Feed:
        return self._task.feed(index)

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> Sequence[Array] | Array:
        return self._task.answers(outputs, rows)

    def score(self, answers: Mapping[int, Array]) -> Score:
        return self._task.score(answers)
