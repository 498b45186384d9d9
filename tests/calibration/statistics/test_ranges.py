"""Every method against its definition on the raw values, and the properties all of them share."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from calibration.histogram import histogram_of
from calibration.methods.entropy import divergences
from calibration.methods.mse import symmetric_error
from calibration.methods.percentile import percentile
from calibration.ranges import METHODS, choose_range, choose_ranges
from calibration.statistics import Statistics, TensorStatistics
from calibration.table import CalibrationTable
from graphs.errors import BadInput
from graphs.reading.number_types import E2M1, E4M3, SIGNED, NumberType

DIGESTS = {"model_digest": "m" * 64, "data_digest": "d" * 64, "calibrated": True}
SHAPES = {
    "normal": lambda rng: rng.normal(size=20_000),
    "rectified": lambda rng: np.maximum(rng.normal(size=20_000), 0),
    "relu6": lambda rng: np.clip(rng.normal(2, 3, size=20_000), 0, 6),
    "laplace": lambda rng: rng.laplace(size=20_000),
    "shifted": lambda rng: rng.normal(3, 1, size=20_000),
    "outlier": lambda rng: np.append(rng.normal(size=20_000), [60.0, -45.0]),
    "negative": lambda rng: -np.abs(rng.normal(size=20_000)),
    "constant": lambda rng: np.full(100, 2.5),
    "zero": lambda rng: np.zeros(100),
}


def values_of(shape: str, seed: int = 0) -> np.ndarray:
    return SHAPES[shape](np.random.default_rng(seed)).astype(np.float32)


def statistics_of(values: np.ndarray) -> TensorStatistics:
    low, high = float(values.min()), float(values.max())
    return TensorStatistics(values.size, low, high, histogram_of(values, low, high))


def int8_error(values: np.ndarray, amax: float) -> float:
    step = amax / 127
    return float(np.mean((np.clip(np.rint(values / step), -127, 127) * step - values) ** 2))


def uint8_error(values: np.ndarray, low: float, high: float) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255
    zero = np.rint(-low / step)
    return float(np.mean(((np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step - values) ** 2))


def float_error(values: np.ndarray, amax: float, numbers: NumberType) -> float:
    step = np.float32(amax / numbers.highest)
    rounded = values / step
    numbers.round(rounded)
    return float(np.mean((rounded.astype(np.float64) * step - values) ** 2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
@given(power=st.integers(-12, 12))
@settings(max_examples=5)
def test_scaling_the_values_scales_the_range(method, shape, power):
    values = values_of(shape)
    once, scaled = (choose_range(statistics_of(v), method) for v in (values, np.ldexp(values, power)))
    for field in ("amax", "low", "high"):
        assert getattr(scaled, field) == getattr(once, field) * 2.0**power


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_a_range_stays_within_what_was_observed(method, shape):
    found = choose_range(statistics_of(values_of(shape)), method)
    assert 0 <= found.amax <= max(abs(found.minimum), abs(found.maximum))
    assert found.minimum <= found.low <= found.high <= found.maximum
    assert (found.amax > 0) == (shape != "zero")


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_values_get_the_mirrored_range(method):
    values = values_of("normal")
    a, b = (choose_range(statistics_of(v), method) for v in (values, -values))
    assert a.amax == pytest.approx(b.amax, rel=2e-3)
    assert (a.low, a.high) == pytest.approx((-b.high, -b.low), rel=0.05)


@pytest.mark.parametrize("shape", ["normal", "rectified", "laplace", "shifted", "outlier", "negative"])
@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
def test_percentiles_are_numpys_on_the_raw_values(shape, percent):
    values = values_of(shape)
    found = percentile(statistics_of(values), SIGNED, percent)
    bin_width = statistics_of(values).histogram.width
    for got, data, share in [
        (found.amax, np.abs(values), percent),
        (found.low, values, (100 - percent) / 2),
        (found.high, values, 100 - (100 - percent) / 2),
    ]:
        around = np.percentile(data, np.clip([share - 0.012, share + 0.012], 0, 100))
        assert around[0] - 1.5 * bin_width <= got <= around[1] + 1.5 * bin_width


@pytest.mark.parametrize("shape", ["normal", "rectified", "relu6", "laplace", "shifted", "outlier", "negative"])
def test_mse_comes_within_two_percent_of_the_best_symmetric_threshold(shape):
    values = values_of(shape)
    found = choose_range(statistics_of(values), "mse")
    best = min(int8_error(values, amax) for amax in np.linspace(0.02, 1, 500) * np.abs(values).max())
    assert int8_error(values, found.amax) <= 1.02 * best


@pytest.mark.parametrize("shape", ["normal", "rectified", "relu6", "laplace", "shifted", "outlier", "negative"])
def test_mse_comes_within_three_percent_of_the_best_asymmetric_range(shape):
    values = values_of(shape)
    found = choose_range(statistics_of(values), "mse")
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    shares = np.concatenate([np.linspace(0.05, 0.4, 15), np.linspace(0.42, 1, 30)])
    best = min(
        uint8_error(values, low * a, high * b) for a in (shares if low else [1]) for b in (shares if high else [1])
    )
    assert uint8_error(values, found.low, found.high) <= 1.03 * best


@pytest.mark.parametrize("shape", ["normal", "rectified", "relu6", "laplace", "shifted", "outlier", "negative"])
@pytest.mark.parametrize("numbers", [E4M3, E2M1], ids=lambda numbers: numbers.dtype.name)
def test_mse_judges_floating_point_codes_by_their_own_numbers(shape, numbers):
    values = values_of(shape)
    found = choose_range(statistics_of(values), "mse", numbers)
    best = min(float_error(values, amax, numbers) for amax in np.linspace(0.02, 1, 500) * np.abs(values).max())
    assert float_error(values, found.amax, numbers) <= 1.03 * best
    assert (found.low, found.high) == (max(-found.amax, found.minimum), min(found.amax, found.maximum))


@pytest.mark.parametrize("numbers", [E4M3, E2M1, SIGNED], ids=lambda numbers: numbers.dtype.name)
def test_the_expected_error_is_that_of_the_values(numbers):
    """Of values spread evenly within bins, as the closed form takes them."""
    values = values_of("laplace")
    thresholds = np.array([0.2, 0.5, 0.9, 1.0]) * np.abs(values).max()
    found = symmetric_error(statistics_of(values).histogram, thresholds, numbers)
    expected = [
        float_error(values, amax, NumberType(numbers.dtype, -numbers.highest, numbers.highest)) for amax in thresholds
    ]
    np.testing.assert_allclose(found, expected, rtol=0.01)


@pytest.mark.parametrize("method", ["mse", "entropy"])
@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails_that_int8_clips_e4m3_keeps(method, seed):
    """Its steps grow with the values: a wide range costs the small ones little."""
    values = np.random.default_rng(seed).standard_t(3, size=20_000).astype(np.float32)
    whole, floats = (choose_range(statistics_of(values), method, numbers).amax for numbers in (SIGNED, E4M3))
    assert floats > 1.05 * whole
    assert float_error(values, floats, E4M3) < 0.8 * float_error(values, whole, E4M3)


def test_mse_keeps_a_bound_that_holds_much_of_the_mass():
    """ReLU6 saturates: clipping below 6 would hit every saturated value."""
    found = choose_range(statistics_of(values_of("relu6")), "mse")
    assert found.amax > 5.9
    assert found.high > 5.9


def divergence_by_definition(counts: np.ndarray, kept: int, groups: np.ndarray) -> float:
    """The published algorithm, bin by bin; ``groups`` end at these parts of the last."""
    p = counts[:kept].astype(float)
    q = np.zeros(kept)
    for start, stop in pairwise(kept * groups // groups[-1]):
        group = slice(start, stop)
        filled = p[group] > 0
        q[group] = filled * p[group].sum() / max(filled.sum(), 1)
    p[-1] += counts[kept:].sum()
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


EQUAL, GROWING = np.arange(33), np.array([0, 1, 3, 7, 15, 31, 63, 127, 160])


@pytest.mark.parametrize("groups", [EQUAL, GROWING], ids=["equal", "growing"])
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_divergences_are_those_of_the_published_algorithm(groups, seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(200 * np.exp(-np.arange(400) / 60))
    candidates = np.array([kept for kept in range(32, 401, 23) if counts[kept - 1]])
    expected = [divergence_by_definition(counts, int(kept), groups) for kept in candidates]
    np.testing.assert_allclose(divergences(counts, candidates, groups), expected, rtol=1e-9, atol=1e-12)


def test_entropy_does_not_clip_at_a_frequent_value():
    """Pixels of a mostly dark image: half the values lie at one point, and the rest above it in magnitude."""
    rng = np.random.default_rng(0)
    levels = (np.where(rng.random(20_000) < 0.5, 40, rng.integers(0, 256, 20_000)) / 100 - 0.8).astype(np.float32)
    assert np.mean(np.abs(levels) > choose_range(statistics_of(levels), "entropy").amax) < 0.002


def test_entropy_clips_a_lone_outlier():
    found = choose_range(statistics_of(values_of("outlier")), "entropy")
    assert found.amax < 15


def test_a_table_survives_json_and_refuses_another_model(tmp_path):
    statistics = Statistics({name: statistics_of(values_of(name)) for name in SHAPES}, 7)
    table = choose_ranges(statistics, **DIGESTS)
    table.save(tmp_path / "calibration.json")
    assert CalibrationTable.load(tmp_path / "calibration.json", DIGESTS["model_digest"]) == table
    with pytest.raises(BadInput, match="another model"):
        CalibrationTable.load(tmp_path / "calibration.json", "f" * 64)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(BadInput) as caught:
        choose_ranges(Statistics({}, 0), "median", **DIGESTS)
    assert "minmax" in caught.value.expected
