"""Filling pinned memory with an input: a small one at once, a large one in pieces that several threads fill, each of
which can be on its way to the GPU while the next are filled.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Lock

import numpy as np

from engines.cuda.runtime import Bytes
from engines.engine import Array
from engines.parallel import available_cores

LARGE_BYTES = 4 << 20
"""An input of so many bytes is staged in pieces; a smaller one, such as an image (0.6 MB for ResNet-50), at once. Two
pieces: with fewer there is nothing to do at the same time."""
PIECE_BYTES = 2 << 20
"""About so many bytes are a piece. Chosen: one core fills it in some 0.4 ms, many times what passing on a piece costs,
and a batch of 32 images (19 MB) has enough of them for all threads."""
MOST_THREADS = 8
"""Threads that fill pieces at once, where the machine has the cores. Chosen: one core filled less than 5 GB/s, and
the link took 54 (``docs/measurements``, of an H200)."""


class Staging:
    """Fills pinned memory for all slots of an engine; its threads are started by the first large input. Any thread may
    call it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._helpers: ThreadPoolExecutor | None = None

    def fill(self, buffer: Bytes, value: Array, filled: Callable[[slice], None]) -> None:
        """Write ``value``, of any strides, row-major into ``buffer``, of as many bytes.

        ``filled`` is called, in this thread, with each part of ``buffer`` once it is complete, in any order; together
        they are all of it. Nothing is written any more when this returns or raises.
        """
        if value.nbytes < LARGE_BYTES:
            np.copyto(buffer.view(value.dtype).reshape(value.shape), value)
            filled(slice(0, value.nbytes))
            return
        rows = value.reshape(-1) if value.flags.c_contiguous else value.squeeze()  # axis 0 is cut
        target = buffer.view(value.dtype).reshape(rows.shape)
        row_bytes = value.nbytes // len(rows)
        step = max(1, PIECE_BYTES // row_bytes)

        def write(start: int) -> slice:
            stop = min(start + step, len(rows))
            np.copyto(target[start:stop], rows[start:stop])
            return slice(start * row_bytes, stop * row_bytes)

        self._together(write, range(0, len(rows), step), filled)

    def _together(self, write: Callable[[int], slice], starts: range, filled: Callable[[slice], None]) -> None:
        """This thread and the helpers take pieces from one iterator: helpers that get no core hold nothing up."""
        left, done = iter(starts), SimpleQueue[slice]()

        def help_out() -> None:
            for start in left:
                done.put(write(start))

        helpers = self._start(help_out, len(starts) - 1)
        try:
            for start in left:
                filled(write(start))
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
                self._helpers = ThreadPoolExecutor(count, "staging")
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
