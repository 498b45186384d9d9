"""Outputs whose length depends on the data are compared row by row, each found again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy.compare import OutputNoise
from benchmarks.accuracy.found_rows import find_rows, open_axes, row_axis
from engines.engine import TensorSpec
from tests.drawing import seeded

rng = seeded(0)


def boxes(count):
    return rng.uniform(0, 100, (1, count, 4)).astype(np.float32)


def test_only_axes_of_a_symbol_of_their_own_depend_on_the_data():
    inputs = [TensorSpec("x", "float32", ("N", 3, "T"), True)]
    assert open_axes(TensorSpec("det", "float32", (1, "M", 4)), inputs) == (1,)
    assert open_axes(TensorSpec("tokens", "float32", ("N", "T", 8)), inputs) == ()
    assert open_axes(TensorSpec("logits", "float32", ("N", 10)), inputs) == ()


def test_shapes_may_differ_in_one_open_axis():
    assert row_axis((1, 5, 4), (1, 6, 4), (1,)) == 1
    assert row_axis((1, 5, 4), (1, 6, 4), (0,)) is None
    assert row_axis((1, 5, 4), (2, 6, 4), (0, 1)) is None
    assert row_axis((5,), (5, 1), (0,)) is None


def test_a_row_that_is_missing_costs_that_row_only():
    reference = boxes(50)
    candidate = np.delete(reference, 7, axis=1)
    found = find_rows(reference, candidate, 1)
    assert found is not None and found.found == 49 and len(found.reference) == 50
    assert np.count_nonzero((found.reference != found.candidate).any(axis=1)) == 1


def test_detections_are_compared_from_the_first_feed_on():
    noise = OutputNoise((1,))
    first = boxes(20)
    noise.add(first, first[:, ::-1], 0, ((1, 3),))  # the order of equal scores
    second = boxes(30)
    noise.add(second, second[:, 1:] + 0.01, 1, ((1, 3),))
    result = noise.result()
    assert not result.failure and result.agreement_kind == "rows found again"
    assert result.agreement == pytest.approx(49 / 50) and result.cosine > 0.97


def test_nothing_detected():
    noise = OutputNoise((1,))
    noise.add(boxes(0), boxes(3), 0)
    noise.add(boxes(2), boxes(0), 1)
    assert noise.result().cosine == 0.0 and not noise.result().failure


def test_a_length_that_does_not_depend_on_the_data_must_be_kept():
    noise = OutputNoise((1,))
    for sample in range(2):
        noise.add(boxes(3), boxes(4), sample, ((1, 3),))
    assert "1x4x4 where FP32 gives 1x3x4" in noise.result().failure
    lengths = OutputNoise((1,))
    lengths.add(boxes(3), boxes(4), 0, ((1, 3),))
    lengths.add(boxes(5), boxes(6), 1, ((1, 5),))
    assert lengths.result().failure


def test_equal_rows_find_each_other():
    same = np.ones((6, 2), np.float32)
    found = find_rows(same, same[:4], 0)
    assert found is not None and found.found == 4 and len(found.reference) == 6
