"""The cores there are, and independent pieces of work on all of them, in threads: numpy and ONNX Runtime let go of the
interpreter.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def available_cores() -> int:
    """Logical cores this process may run on (its affinity mask where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(
    work: Callable[[_T], _R], items: Sequence[_T], small: Callable[[_T], bool] = lambda _: True
) -> list[_R]:
    """``work`` of every item, in their order. Those that are not ``small`` run one after the other, when the others are
    done: what fills all cores or much memory by itself.
    """
    together = [index for index, item in enumerate(items) if small(item)]
    results: dict[int, _R] = {}
    if together:
        with ThreadPoolExecutor(available_cores()) as pool:
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
