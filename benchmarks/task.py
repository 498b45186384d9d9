"""A task as whoever runs one sees it: samples, answers and a score; and how a process of its own finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from benchmarks.score import Score
from engines.engine import Array, Engine, Feed, TensorSpec
from engines.user_code import load_callable


@runtime_checkable
class Task(Protocol):
    """A dataset opened for a model of certain inputs."""

    def __len__(self) -> int: ...

    def feed(self, index: int) -> Feed:
        """Load and pre-process one sample (untimed). Axis 0 is the batch: 1, or the items of a sample of many."""
        ...

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> Sequence[Array] | Array:
        """Post-process a batch (timed): one answer per sample, or one array whose axis 0 counts the samples.

        ``rows`` are the rows along axis 0 that each sample has in the outputs.
        """
        ...

    def score(self, answers: Mapping[int, Array]) -> Score:
        """The metric over samples by index (all of them, unless a run failed)."""
        ...


class TaskSource(Protocol):
    """Opens the engine a task is run on, and the task for it."""

    @property
    def performance_samples(self) -> int:
        """How many samples MLPerf's rules let a performance run draw from."""
        ...

    def engine(self, source: str, threads: int | None = None) -> Engine:
        """The engine at ``source`` (see ``engines.source``), or the loop around several."""
        ...

    def task(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Task: ...


@dataclass(frozen=True)
class TaskPlace:
    """Names a task, so that another process can open it: ``opener`` (``module:function``) takes this and returns the
    ``TaskSource``. ``name`` is the task's, or ``file.py``; ``dataset`` the folder of its data; ``first_samples`` takes
    only so many (None: all).
    """

    opener: str
    name: str
    dataset: str
    first_samples: int | None = None

    def find(self) -> TaskSource:
        """Raises ``BadInput`` where there is no such task."""
        source: TaskSource = load_callable(self.opener)(self)
        return source
