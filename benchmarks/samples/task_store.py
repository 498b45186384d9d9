"""A task's samples as a store for LoadGen's library: pre-processed when LoadGen asks for them, on every core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from benchmarks.task import Task
from engines.engine import Feed
from engines.parallel import available_cores


class TaskStore:
    """Reads through ``task.feed``; the first sample stands for the size of all."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @cached_property
    def sample_bytes(self) -> int:
        return max(1, sum(array.nbytes for array in self._task.feed(0).values()))

    def __len__(self) -> int:
        return len(self._task)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Feed]]:
        ordered = sorted(set(indices))
        with ThreadPoolExecutor(available_cores()) as pool:  # decoding and resizing images frees the interpreter
            yield from zip(ordered, pool.map(self._task.feed, ordered), strict=True)
