"""Work side by side: each piece has its share of the cores, and what ends one ends the others."""

from __future__ import annotations

import threading
import time
from threading import Event

import pytest
from threadpoolctl import threadpool_info

from engines.parallel import available_cores, in_parallel, lending_cores, side_by_side


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_pieces_share_the_cores_and_products_use_one_each() -> None:
    cores, before = available_cores(), blas_threads()
    met = threading.Barrier(2)  # broken unless both run at the same time

    def work(_: Event) -> tuple[int, set[int]]:
        met.wait(timeout=30)
        seen = available_cores(), blas_threads()
        met.wait(timeout=30)  # the share grows as soon as the other ends
        return seen

    found = side_by_side([work, work])
    assert found == [(max(cores // 2, 1), {1})] * 2
    assert available_cores() == cores and blas_threads() == before


def test_the_last_to_end_has_all_cores() -> None:
    def brief(_: Event) -> None:
        return None

    def long(_: Event) -> int:
        deadline = time.monotonic() + 30
        while available_cores() < before and time.monotonic() < deadline:
            time.sleep(0.001)
        return available_cores()

    before = available_cores()
    assert side_by_side([brief, long]) == [None, before]


def test_one_that_waits_lends_its_share() -> None:
    waiting, seen = threading.Barrier(2), threading.Event()

    def waits(_: Event) -> int:
        with lending_cores():
            waiting.wait(timeout=30)
            seen.wait(timeout=30)
        return available_cores()

    def works(_: Event) -> int:
        waiting.wait(timeout=30)
        found = available_cores()
        seen.set()
        return found

    cores = available_cores()
    assert side_by_side([waits, works])[1] == cores


def test_one_piece_alone_has_all_cores() -> None:
    assert side_by_side([lambda _: available_cores()]) == [available_cores()]


def test_what_one_raises_stops_the_other_and_is_raised() -> None:
    both = threading.Barrier(2)

    def fails(_: Event) -> None:
        both.wait(timeout=30)
        raise ValueError("broken")

    def waits(stop: Event) -> None:
        both.wait(timeout=30)
        if stop.wait(timeout=30):
            stopped.append(True)

    stopped: list[bool] = []
    with pytest.raises(ValueError, match="broken"):
        side_by_side([fails, waits])
    assert stopped == [True]


def test_small_items_in_parallel_take_products_for_themselves_and_leave_them_as_they_were() -> None:
    before = blas_threads()
    assert in_parallel(lambda _: blas_threads(), [1, 2, 3]) == [{1}] * 3
    assert in_parallel(lambda _: blas_threads(), [1, 2], small=lambda _: False) == [before] * 2
    assert blas_threads() == before
