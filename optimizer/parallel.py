"""Independent pieces of numpy work on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from engines.onnxruntime.engine import available_cores

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_parallel(
    work: Callable[[_T], _R], items: Sequence[_T], small: Callable[[_T], bool] = lambda _: True
) -> list[_R]:
    """``work`` of every item, in their order. Those that are not ``small`` run one after the other, when the others are
    done: what fills all cores or much memory by itself. numpy lets go of the interpreter while it computes.
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
