"""The cores there are, and independent pieces of work on all of them, in threads: numpy and ONNX Runtime let go of the
interpreter.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from itertools import islice
from math import prod
from threading import Event, Lock
from typing import TypeVar

from threadpoolctl import threadpool_limits

_T = TypeVar("_T")
_R = TypeVar("_R")


class _Sharing:
    """Pieces of work that share the cores: how many are not done yet."""

    def __init__(self, working: int) -> None:
        self._lock, self.working = Lock(), working

    def done(self) -> None:
        with self._lock:
            self.working -= 1

    def again(self) -> None:
        with self._lock:
            self.working += 1


_SHARED_WITH: ContextVar[tuple[_Sharing, ...]] = ContextVar("whom the cores are shared with", default=())


def available_cores() -> int:
    """Logical cores this process may run on (its affinity mask where the system has one); their share in work that is
    done ``side_by_side``, which grows as the others end.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // prod(max(sharing.working, 1) for sharing in _SHARED_WITH.get()), 1)


@contextmanager
def lending_cores() -> Iterator[None]:
    """Around a wait for work done ``side_by_side``: the others have this one's share meanwhile."""
    waiting = _SHARED_WITH.get()
    for sharing in waiting:
        sharing.done()
    try:
        yield
    finally:
        for sharing in waiting:
            sharing.again()


class _SingleProducts:
    """Lets numpy's matrix products use one core for as long as anybody asks: threads of ours that run side by side
    would each wake all of the library's, which then wait for one another. On two cores rounding and judging MobileNetV2
    took 20 s of processor time and 12.5 s in place of 14 s and 10.3 s.
    """

    def __init__(self) -> None:
        self._lock, self._asking, self._limits = Lock(), 0, nullcontext()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._asking += 1
            if self._asking == 1:
                self._limits = threadpool_limits(1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    self._limits.__exit__(None, None, None)


_single_products = _SingleProducts()


def side_by_side(works: Sequence[Callable[[Event], _R]]) -> list[_R]:
    """The results of all ``works``, each in a thread of its own with an equal share of the cores, as many as are left.

    What one of them raises, and an interrupt, is raised here, once the others have ended: the event they are given is
    set then, for them to look at.
    """
    if len(works) == 1:
        return [works[0](Event())]
    stop, sharing = Event(), _Sharing(len(works))
    token = _SHARED_WITH.set((*_SHARED_WITH.get(), sharing))

    def run(work: Callable[[Event], _R]) -> _R:
        try:
            return work(stop)
        finally:
            sharing.done()

    pool = ThreadPoolExecutor(max(len(works), 1))
    try:
        with _single_products():
            futures = [pool.submit(copy_context().run, run, work) for work in works]
            return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        _SHARED_WITH.reset(token)


def in_parallel(
    work: Callable[[_T], _R], items: Sequence[_T], small: Callable[[_T], bool] = lambda _: True
) -> list[_R]:
    """``work`` of every item, in their order. Those that are not ``small`` run one after the other, when the others are
    done: what fills all cores or much memory by itself.
    """
    together = [index for index, item in enumerate(items) if small(item)]
    results: dict[int, _R] = {}
    if together:
        with _single_products(), ThreadPoolExecutor(available_cores()) as pool:
            results.update(zip(together, pool.map(work, [items[index] for index in together]), strict=True))
    for index, item in enumerate(items):
        if index not in results:
            results[index] = work(item)
    return [results[index] for index in range(len(items))]


def in_turn(work: Callable[[_T], _R], items: Iterable[_T], workers: int) -> Iterator[_R]:
    """``work`` of every item, in their order, ``workers`` at a time; no more results than that wait to be taken."""
    left = iter(items)
    if workers == 1:
        yield from map(work, left)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[_R]] = deque(pool.submit(work, item) for item in islice(left, workers))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(work, item) for item in islice(left, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()
