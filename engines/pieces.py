"""Memory filled in pieces by several threads: numpy lets go of the interpreter while it copies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Lock

from engines.parallel import available_cores

LARGE_BYTES = 4 << 20
"""From so many bytes on memory is filled in pieces; less, such as an image (0.6 MB for ResNet-50), at once. Two pieces:
with fewer there is nothing to do at the same time."""
PIECE_BYTES = 2 << 20
"""About so many bytes are a piece. Chosen; on an H200 with 16 cores 1 and 4 MiB were as fast (docs/measurements)."""
MOST_THREADS = 8
"""Threads that fill pieces at once, where the machine has the cores. Measured on an H200 with 16 cores
(docs/measurements): 4 gave three quarters of the throughput of 8 in batches of 128 images, 16 no more than 8."""


def _nothing(_: slice) -> None: ...


class Pieces:
    """Threads for all that one owner fills, started by what is large. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._helpers: ThreadPoolExecutor | None = None

    def fill(
        self, rows: int, row_bytes: int, write: Callable[[slice], None], filled: Callable[[slice], None] = _nothing
    ) -> None:
        """``write`` every one of ``rows``, some at a time, in this thread and others.

        ``filled`` is called, in this thread, with the rows that are written, in any order; together they are all.
        Nothing is written any more when this returns or raises.
        """
        if rows * row_bytes < LARGE_BYTES:
            write(slice(0, rows))
            filled(slice(0, rows))
            return
        step = max(1, PIECE_BYTES // row_bytes)
        starts = range(0, rows, step)
        left, done = iter(starts), SimpleQueue[slice]()

        def piece(start: int) -> slice:
            part = slice(start, min(start + step, rows))
            write(part)
            return part

        def help_out() -> None:
            for start in left:
                done.put(piece(start))

        helpers = self._start(help_out, len(starts) - 1)
        try:  # all take pieces from one iterator, so a helper that gets no core holds nothing up
            for start in left:
                filled(piece(start))
                _each(done, filled)
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
                    _each(done, filled)
        except BaseException:
            for _ in left:
                pass
            wait(helper for helper in helpers if not helper.cancel())
            raise

    def _start(self, work: Callable[[], None], most: int) -> list[Future[None]]:
        with self._lock:
            count = min(available_cores(), MOST_THREADS) - 1
            if self._helpers is None and count > 0:
                self._helpers = ThreadPoolExecutor(count, "pieces")
            return [self._helpers.submit(work) for _ in range(min(count, most))] if self._helpers is not None else []

    def close(self) -> None:
        """End the threads. Safe to call twice."""
        with self._lock:
            helpers, self._helpers = self._helpers, None
        if helpers is not None:
            helpers.shutdown()


def _each(done: SimpleQueue[slice], filled: Callable[[slice], None]) -> None:
    while not done.empty():
        filled(done.get())
