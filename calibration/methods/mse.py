"""The range with the least expected squared quantization error, clipping and rounding together.

Values are taken as uniform within a histogram bin, so both parts have closed forms and the bins need not be finer than
the quantization step. In units of a scale the squared error integrates, from zero to a value, to
``sum(g**3) / 12 + r**3 / 3``: ``g`` are the gaps between the numbers from zero to the nearest one, all of them 1 where
numbers are whole, and ``r`` is what is left. Beyond an end it grows by the cube of the distance over 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from calibration.histogram import Histogram
from calibration.methods.chosen import Chosen, within_observed
from calibration.statistics import TensorStatistics
from graphs.reading.number_types import NumberType

Floats = npt.NDArray[np.float64]

_REFINEMENTS = 2
"""How often the search goes on with finer shares around the best; each time they lie four times closer. Chosen."""
# Candidate thresholds as shares of the largest: fine near one, geometric below, down to 1/128.
_COARSE = np.exp2(-np.concatenate([np.linspace(0, 1.4, 8), np.linspace(1.75, 7, 15)]))


def mse(statistics: TensorStatistics, numbers: NumberType) -> Chosen:
    """``amax`` for codes around zero; ``(low, high)`` for whole ones with a zero point, which floating-point codes
    have not.
    """
    histogram = statistics.histogram
    if histogram is None or not histogram.counts.any():
        return Chosen(statistics.absmax, statistics.minimum, statistics.maximum)
    amax = _search(statistics.absmax, _COARSE, lambda trial: symmetric_error(histogram, trial, numbers))
    if not numbers.whole:
        return within_observed(statistics, amax, -amax, amax)
    steps = numbers.highest - numbers.lowest
    low, high = _asymmetric(histogram, min(statistics.minimum, 0.0), max(statistics.maximum, 0.0), steps)
    return within_observed(statistics, amax, low, high)


def _asymmetric(histogram: Histogram, widest_low: float, widest_high: float, steps: float) -> tuple[float, float]:
    """One end after the other over all candidates, then both once more close to where they stand."""

    def best_high(low: float, shares: Floats) -> float:
        return _search(
            widest_high, shares, lambda trial: asymmetric_error(histogram, np.full_like(trial, low), trial, steps)
        )

    def best_low(high: float, shares: Floats) -> float:
        return -_search(
            -widest_low, shares, lambda trial: asymmetric_error(histogram, -trial, np.full_like(trial, high), steps)
        )

    if widest_low == 0:
        return 0.0, best_high(0.0, _COARSE)
    if widest_high == 0:
        return best_low(0.0, _COARSE), 0.0
    high = best_high(widest_low, _COARSE)
    low = best_low(high, _COARSE)
    high = best_high(low, _around(high / widest_high))
    return best_low(high, _around(low / widest_low)), high


def symmetric_error(histogram: Histogram, amax: Floats, numbers: NumberType) -> Floats:
    """Mean squared error of rounding to ``numbers`` around zero, the largest at ``amax``, for each candidate."""
    levels = numbers.magnitudes
    step = amax[:, None] / levels[-1]
    zero, highest = np.zeros_like(step), np.full_like(step, levels[-1])
    nearest = _whole if numbers.whole else partial(_nearest, levels)
    return _expected_error(histogram.magnitudes(), histogram.magnitude_edges(), histogram, step, zero, highest, nearest)


def asymmetric_error(histogram: Histogram, low: Floats, high: Floats, steps: float) -> Floats:
    """Mean squared error of whole codes, ``steps`` from the lowest to the highest, for each candidate pair
    ``low <= 0 <= high``, zero kept exact.
    """
    step = (high - low)[:, None] / steps
    zero_point = np.rint(-low[:, None] / step)
    return _expected_error(
        histogram.counts, histogram.edges(), histogram, step, -zero_point, steps - zero_point, _whole
    )


def _whole(values: Floats) -> tuple[Floats, Floats]:
    """The nearest whole numbers, and the cubes of the gaps from zero to them, added up."""
    nearest = np.rint(values)
    return nearest, nearest


def _nearest(levels: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The nearest of ``levels``, which ascend from zero, and the cubes of the gaps from zero to them, added up."""
    index = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    return levels[index], np.concatenate([[0.0], np.cumsum(np.diff(levels) ** 3)])[index]


def _expected_error(
    counts: npt.NDArray[np.int64],
    edges: Floats,
    histogram: Histogram,
    step: Floats,
    lowest: Floats,
    highest: Floats,
    nearest_of: Callable[[Floats], tuple[Floats, Floats]],
) -> Floats:
    """Of each candidate, ``step``, ``lowest`` and ``highest`` being [candidates, 1]."""
    used = np.flatnonzero(counts)
    start, stop = int(used[0]), int(used[-1]) + 1
    beyond = edges[start : stop + 1][None, :] / step  # in units of a step; reduced to what lies beyond the end codes
    inside = np.clip(beyond, lowest, highest)
    beyond -= inside
    nearest, gaps = nearest_of(inside)
    inside -= nearest
    integral = gaps / 12 + (inside * inside * inside + beyond * beyond * beyond) / 3
    per_bin = np.diff(integral, axis=1)
    scale = step[:, 0] ** 3 / (histogram.width * max(histogram.total, 1))
    return np.asarray((per_bin @ counts[start:stop].astype(np.float64)) * scale, dtype=np.float64)


def _search(widest: float, shares: Floats, error: Callable[[Floats], Floats]) -> float:
    """The candidate ``widest * share`` of least error: of ``shares``, then twice of finer ones around the best."""
    for step in range(_REFINEMENTS + 1):
        best = int(np.argmin(error(widest * shares)))
        result = float(shares[best])
        if step < _REFINEMENTS:
            shares = np.linspace(shares[max(best - 1, 0)], shares[min(best + 1, len(shares) - 1)], 9)
    return widest * result


def _around(share: float) -> Floats:
    return np.minimum(share * np.linspace(1.08, 0.92, 9), 1.0)
