"""Splitting and batching any sample source, also one that cannot be indexed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.source import batches, split
from engines.engine import TensorSpec


class Plain:
    """The least a sample source must be."""

    specs = (TensorSpec("x", "float32", ("batch", "length")),)
    digest, description, synthetic = "d", "numbers", False

    def __init__(self, lengths):
        self._lengths = lengths

    def __len__(self):
        return len(self._lengths)

    def samples(self):
        for i, length in enumerate(self._lengths):
            yield {"x": np.full((1, length), i, np.float32)}


def ids(part):
    return [int(sample["x"][0, 0]) for sample in part.samples()]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), st.integers(0, 3))
def test_parts_are_disjoint_ordered_and_bounded(total, calibration, held_back, seed):
    first, second = split(Plain([1] * total), calibration, held_back, seed)
    assert len(first) == len(ids(first)) <= calibration
    assert len(second) == len(ids(second)) <= held_back
    assert ids(first) == sorted(set(ids(first)))
    if total > 1:
        assert not set(ids(first)) & set(ids(second))
        assert len(first) == min(calibration, total - len(second))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=20), st.integers(1, 5))
def test_batches_join_equal_shapes_only_and_lose_nothing(lengths, size):
    joined = [batch["x"] for batch in batches(Plain(lengths).samples(), size, Plain.specs)]
    assert [int(row[0]) for batch in joined for row in batch] == list(range(len(lengths)))
    assert [batch.shape[1] for batch in joined for _ in batch] == lengths
    assert max(len(batch) for batch in joined) <= size


def test_not_batchable_samples_pass_one_by_one():
    whole = (TensorSpec("x", "float32", ("points", "length"), batch=False),)
    assert [b["x"].shape for b in batches(Plain([2, 2]).samples(), 8, whole)] == [(1, 2), (1, 2)]


@pytest.mark.parametrize("seed", [0, 1])
def test_split_follows_the_seed(seed):
    assert ids(split(Plain([1] * 30), 10, 5, seed)[0]) == ids(split(Plain([1] * 30), 10, 5, seed)[0])
    assert ids(split(Plain([1] * 30), 10, 5, 0)[0]) != ids(split(Plain([1] * 30), 10, 5, 1)[0])


def test_a_part_is_called_what_its_data_is_called():
    first, second = split(Plain([1] * 8), 4, 2, 0)
    assert first.description == second.description == "numbers", "reports say how many, and for what"
