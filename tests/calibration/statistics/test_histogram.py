"""The histogram is a function of the values alone: not of their order, nor of how the stream was cut."""

from __future__ import annotations

from functools import reduce

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from calibration.histogram import Histogram, histogram_of

VALUES = arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-(2.0**20), 2.0**20, width=32, allow_subnormal=True) | st.sampled_from([0.0, -1e-30, 1e-38]),
)


def histogram(values: np.ndarray) -> Histogram:
    return histogram_of(values, float(values.min()), float(values.max()))


def assert_same(a: Histogram, b: Histogram) -> None:
    assert (a.exponent, a.zeros) == (b.exponent, b.zeros)
    low = min(a.first, b.first)
    length = max(a.first + len(a.counts), b.first + len(b.counts)) - low
    padded = [np.pad(h.counts, (h.first - low, length - (h.first - low) - len(h.counts))) for h in (a, b)]
    np.testing.assert_array_equal(padded[0], padded[1])


@given(VALUES, st.lists(st.integers(0, 60), max_size=4), st.randoms())
def test_any_cut_in_any_order_merges_to_the_histogram_of_the_whole(values, cuts, random):
    parts = [part for part in np.split(values, sorted(cut % len(values) for cut in cuts)) if len(part)]
    random.shuffle(parts)
    assert_same(reduce(Histogram.merged, map(histogram, parts)), histogram(values))


@given(VALUES)
def test_every_value_is_counted_in_the_bin_that_holds_it(values):
    found = histogram(values)
    nonzero = values[values != 0].astype(np.float64)
    assert found.total == values.size
    assert found.zeros == values.size - nonzero.size
    if nonzero.size:
        np.testing.assert_array_equal(np.histogram(nonzero, _half_open(found.edges()))[0], found.counts)


def _half_open(edges: np.ndarray) -> np.ndarray:
    """numpy closes its last bin; an extra one keeps ours half-open."""
    return edges if len(edges) < 2 else np.append(edges[:-1], np.nextafter(edges[-1], -np.inf))


@given(VALUES, st.integers(-20, 20))
def test_scaling_by_a_power_of_two_moves_the_bins_and_nothing_else(values, power):
    values = values[np.abs(values) > 1e-20]
    if not values.size:
        return
    a, b = histogram(values), histogram(np.ldexp(values, power))
    assert b.exponent == a.exponent + power
    assert b.first == a.first
    np.testing.assert_array_equal(a.counts, b.counts)


@given(VALUES)
def test_magnitudes_fold_both_sides(values):
    found = histogram(values)
    magnitudes = found.magnitudes()
    assert magnitudes.sum() == np.count_nonzero(values)
    assert len(found.magnitude_edges()) == len(magnitudes) + 1
    largest = float(np.abs(values).max())
    assert not len(magnitudes) or largest <= found.magnitude_edges()[-1]


def test_a_tensor_of_zeros_has_no_bins():
    found = histogram(np.zeros(5, np.float32))
    assert (found.zeros, len(found.counts), found.total) == (5, 0, 5)
    assert found.merged(histogram(np.array([1.0], np.float32))).total == 6
