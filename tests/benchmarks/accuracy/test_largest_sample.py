"""Figures that speak of one sample are told apart from those of the others."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy.compare import OutputAccuracy, compare
from engines.engine import Array
from tests.benchmarks.accuracy.test_accuracy import Computed, feeds

SAMPLES = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)


def judged(x: Array, error: Array, batch: int) -> OutputAccuracy:
    """``x`` beside itself with an ``error``, both [samples, 8]."""
    wrong = {row.tobytes(): row + more for row, more in zip(x, error, strict=True)}
    candidate = Computed(lambda rows: np.stack([wrong[row.tobytes()] for row in rows]))
    accuracy = compare(Computed(lambda rows: rows), {"c": candidate}, feeds(x, batch))["c"]
    output = accuracy.outputs["y"]
    assert bool(accuracy.told_by_one_sample) == (output.others_db is not None)
    return output


@pytest.mark.parametrize("batch", [1, 4, 12])
@pytest.mark.parametrize("factor", [1e3, 1e4])
def test_one_sample_far_larger_than_the_others_does_not_speak_for_them(batch: int, factor: float) -> None:
    x = SAMPLES.copy()
    x[5] *= factor
    error = 0.1 * np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    error[5] = 0
    found = judged(x, error, batch)
    others = np.delete(np.arange(len(x)), 5)
    expected = 10 * np.log10(np.square(x[others]).sum() / np.square(error[others]).sum())
    assert found.sqnr_db > 60 and found.others_db == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_samples_alike_are_told_together(factor: float) -> None:
    x = SAMPLES.copy()
    x[5] *= factor
    error = 0.1 * np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    assert judged(x, error, 4).others_db is None


def test_where_the_others_are_good_there_is_nothing_to_say() -> None:
    x = SAMPLES.copy()
    x[5] *= 1e3
    error = 1e-4 * np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    assert judged(x, error, 4).others_db is None


def test_one_sample_alone_has_no_others() -> None:
    assert judged(SAMPLES[:1], 0.1 * np.ones((1, 8), np.float32), 1).others_db is None
