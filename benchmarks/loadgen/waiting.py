"""Queries that wait for a free engine in Server: one line, or one line per shape where shapes differ."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol, TypeAlias

Pair: TypeAlias = tuple[int, int]
"""(response id, sample index) of one query."""


class Waiting(Protocol):
    """Many threads take what one thread puts. ``take`` blocks, and returns None once, per taker, after ``close``."""

    def put(self, pair: Pair) -> None: ...

    def take(self, size: int, max_wait: float) -> list[Pair] | None:
        """Up to ``size`` queries; once there is one, wait at most ``max_wait`` seconds for more."""
        ...

    def close(self, takers: int) -> None: ...


class OneLine:
    """For samples that can all be joined. The queue is C code, so a put costs well under a microsecond."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Pair | None] = queue.SimpleQueue()
        self.put = self._queue.put

    def take(self, size: int, max_wait: float) -> list[Pair] | None:
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        deadline = time.monotonic() + max_wait if max_wait else 0.0
        while len(batch) < size:
            left = deadline - time.monotonic() if deadline else 0.0
            try:
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._queue.put(None)  # for this thread's own end, once the batch is done
                break
            batch.append(item)
        return batch

    def close(self, takers: int) -> None:
        for _ in range(takers):
            self._queue.put(None)


class LinePerShape:
    """For samples of different shapes (sequences of different lengths): a batch comes from one line, the one whose
    first query has waited longest, so that no shape starves and batches need no padding beyond their bucket.
    """

    def __init__(self, bucket: Callable[[int], Hashable]) -> None:
        self._bucket = bucket
        self._lines: dict[Hashable, deque[tuple[float, Pair]]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, pair: Pair) -> None:
        entry = (time.monotonic(), pair)
        with self._changed:
            self._lines.setdefault(self._bucket(pair[1]), deque()).append(entry)
            self._changed.notify()

    def take(self, size: int, max_wait: float) -> list[Pair] | None:
        with self._changed:
            while True:
                line = self._oldest()
                if line is None:
                    if self._closed:
                        return None
                    self._changed.wait()
                    continue
                left = line[0][0] + max_wait - time.monotonic()
                if len(line) >= size or left <= 0 or self._closed:
                    return [line.popleft()[1] for _ in range(min(size, len(line)))]
                self._changed.wait(left)

    def _oldest(self) -> deque[tuple[float, Pair]] | None:
        filled = [line for line in self._lines.values() if line]
        return min(filled, key=lambda line: line[0][0]) if filled else None

    def close(self, takers: int) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
