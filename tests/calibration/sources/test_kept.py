"""Samples that fit are read once, whoever passes over them and however far."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Lock

import numpy as np
import pytest

from calibration.source import Sample, place_of
from calibration.sources.kept import KeptSource
from engines.engine import Feed, TensorSpec


class Counting:
    """Six samples of 40 bytes; counts how many were read."""

    specs = (TensorSpec("x", "float32", (10,)),)
    digest, description, synthetic = "d", "six samples", False

    def __init__(self) -> None:
        self.read = 0
        self.buffer = np.zeros(10, np.float32)  # filled again for every sample, as a user's function may

    def __len__(self) -> int:
        return 6

    def samples(self) -> Iterator[Feed]:
        for number in range(6):
            self.read += 1
            self.buffer[:] = number
            yield Sample({"x": self.buffer}, f"row {number}")


def numbers(samples: Iterator[Feed]) -> list[int]:
    return [int(sample["x"][0]) for sample in samples]


@pytest.mark.parametrize(("limit", "read"), [(1000, 6), (100, 18), (0, 18)])
def test_three_passes(limit: int, read: int) -> None:
    source = Counting()
    kept = KeptSource(source, limit)
    assert [numbers(kept.samples()) for _ in range(3)] == [list(range(6))] * 3
    assert source.read == read


class Indexed(Counting):
    """The same, read at chosen places without the others."""

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        self.read += len(indices)
        yield from ({"x": np.full(10, number, np.float32)} for number in sorted(indices))


def test_what_is_kept_is_not_read_again_where_more_follows() -> None:
    source = Indexed()
    kept = KeptSource(source, 100)
    assert [numbers(kept.samples()) for _ in range(3)] == [list(range(6))] * 3
    assert source.read == 6 + 4 + 4


def test_a_pass_goes_on_where_an_earlier_one_stopped() -> None:
    kept = KeptSource(Counting(), 1000)
    assert numbers(islice(kept.samples(), 2)) == [0, 1]
    assert numbers(kept.samples()) == list(range(6))


@pytest.mark.parametrize(("limit", "all_of_it"), [(1000, True), (100, False)])
def test_what_is_kept_whole_is_never_asked_for_again(limit: int, all_of_it: bool) -> None:
    source = Counting()
    kept = KeptSource(source, limit)
    assert kept.keep_all() is all_of_it
    read = source.read
    assert kept.keep_all() is all_of_it and numbers(kept.samples()) == list(range(6))
    assert (source.read == read) is all_of_it


def test_passes_may_cross() -> None:
    kept = KeptSource(Counting(), 1000)
    first, second = kept.samples(), kept.samples()
    crossed = [[*numbers(iter([next(first)])), *numbers(iter([next(second)]))] for _ in range(6)]
    assert crossed == [[number] * 2 for number in range(6)]
    assert next(first, None) is None and next(second, None) is None


def test_a_kept_sample_knows_where_it_was_read() -> None:
    kept = KeptSource(Counting(), 1000)
    assert numbers(kept.samples()) == list(range(6))
    assert [place_of(sample, 0) for sample in kept.samples()] == [f"row {number}" for number in range(6)]


def test_it_says_of_itself_what_its_source_says() -> None:
    kept, source = KeptSource(Counting()), Counting()
    for name in ("specs", "digest", "description", "synthetic"):
        assert getattr(kept, name) == getattr(source, name)
    assert len(kept) == 6


@pytest.mark.parametrize("limit", [1000, 100])
def test_threads_pass_over_a_source_that_only_one_may_ask_at_a_time(limit: int) -> None:
    class Guarded(Counting):
        asked = Lock()

        def samples(self) -> Iterator[Feed]:
            for sample in super().samples():
                assert self.asked.acquire(blocking=False), "asked by two threads at once"
                time.sleep(0.001)
                self.asked.release()
                yield sample

    kept = KeptSource(Guarded(), limit)

    def slowly(_: int) -> list[int]:
        found = []
        for sample in kept.samples():
            before = int(sample["x"][0])
            time.sleep(0.002)  # meanwhile the other thread has the source fill its buffer again
            assert int(sample["x"][0]) == before
            found.append(before)
        return found

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(slowly, range(3))) == [list(range(6))] * 3
