"""Queries wait in one line, or one per shape; nobody starves and nobody is lost."""

from __future__ import annotations

import threading

import pytest

from benchmarks.loadgen.waiting import LinePerShape, OneLine, Waiting


@pytest.fixture(params=["one line", "line per shape"])
def waiting(request: pytest.FixtureRequest) -> Waiting:
    return OneLine() if request.param == "one line" else LinePerShape(lambda index: 0)


def test_what_is_there_is_taken_at_once_up_to_the_size(waiting: Waiting) -> None:
    for number in range(5):
        waiting.put((number, number))
    assert waiting.take(3, 0.0) == [(0, 0), (1, 1), (2, 2)]
    assert waiting.take(3, 0.0) == [(3, 3), (4, 4)]


def test_a_batch_waits_for_more_until_the_deadline(waiting: Waiting) -> None:
    threading.Timer(0.05, lambda: waiting.put((1, 1))).start()
    waiting.put((0, 0))
    assert waiting.take(4, 0.4) == [(0, 0), (1, 1)]


def test_a_full_batch_does_not_wait(waiting: Waiting) -> None:
    for number in range(4):
        waiting.put((number, number))
    taker = threading.Thread(target=waiting.take, args=(4, 600.0), daemon=True)
    taker.start()
    taker.join(30)
    assert not taker.is_alive()


def test_closing_ends_every_taker_after_the_last_query(waiting: Waiting) -> None:
    taken: list[int] = []

    def take() -> None:
        while (batch := waiting.take(2, 0.01)) is not None:
            taken.extend(pair[0] for pair in batch)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(50):
        waiting.put((number, number))
    waiting.close(3)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(taken) == list(range(50))


def test_batches_are_of_one_shape_and_the_oldest_goes_first() -> None:
    waiting = LinePerShape(lambda index: index % 2)
    for number in (1, 2, 4, 3, 6):
        waiting.put((number, number))
    assert waiting.take(8, 0.0) == [(1, 1), (3, 3)]
    assert waiting.take(2, 0.0) == [(2, 2), (4, 4)]
    assert waiting.take(2, 0.0) == [(6, 6)]
