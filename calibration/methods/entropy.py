"""The threshold that loses the least information: least Kullback-Leibler divergence between the clipped distribution
and its quantized form. S. Migacz, "8-bit Inference with TensorRT", GTC 2017.

The quantized form joins the bins below a threshold into as many groups as there are codes: equal ones where numbers are
whole, else those of the values that round to one number. A group's mass is spread over its non-empty bins. With running
sums, a candidate costs one look-up per code and all are scored at once. The histogram has 2048 to 4096 bins a side;
with as many bins as codes every candidate would be a perfect fit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibration.methods.chosen import Chosen, within_observed
from calibration.statistics import TensorStatistics
from graphs.reading.number_types import NumberType

Counts = npt.NDArray[np.int64]

MOST_CLIPPED = 0.001
"""Share of the values that a threshold may clip at most. Chosen."""


def entropy(statistics: TensorStatistics, numbers: NumberType) -> Chosen:
    """Exact zeros take no part: they quantize exactly whatever the threshold."""
    histogram = statistics.histogram
    if histogram is None or not histogram.counts.any():
        return Chosen(statistics.absmax, statistics.minimum, statistics.maximum)
    magnitudes = histogram.magnitudes()
    amax = best_bin_count(magnitudes, _groups(numbers)) * histogram.width
    bound = amax
    if numbers.whole and (statistics.minimum >= 0 or statistics.maximum <= 0):
        every = np.arange(int(numbers.highest - numbers.lowest) + 2)  # all codes are for the one side
        bound = best_bin_count(magnitudes, every) * histogram.width
    return within_observed(statistics, amax, -bound, bound)


def _groups(numbers: NumberType) -> Counts:
    """Where the magnitudes end that one number stands for, from zero to the threshold, in a unit of which all are whole
    multiples.
    """
    levels = numbers.magnitudes
    if numbers.whole:
        return np.arange(len(levels) + 1)
    unit = (levels[1] - levels[0]) / 2
    ends = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, levels[-1:]])
    return np.asarray(np.rint(ends / unit), np.int64)


def best_bin_count(counts: Counts, groups: Counts) -> int:
    """How many leading bins to keep; ``len(counts)`` where there are no more bins than ``groups``, which are given by
    where they end, from zero to the threshold, in any unit.

    Where one value is very frequent (the background of an image) a threshold just there hides any clipped tail in that
    value's bin, and the published search clips a quarter of the data. So thresholds that clip more than
    ``MOST_CLIPPED`` are not considered.
    """
    fewest = np.searchsorted(np.cumsum(counts), (1 - MOST_CLIPPED) * counts.sum()) + 1
    candidates = np.arange(max(len(groups) - 1, int(fewest)), len(counts) + 1)
    # A clipped tail is added to the last bin kept; were that bin empty, its quantized form would have no mass there.
    candidates = candidates[counts[candidates - 1] > 0] if len(candidates) else candidates
    if not len(candidates):
        return len(counts)
    return int(candidates[np.argmin(divergences(counts, candidates, groups))])


def divergences(counts: Counts, candidates: Counts, groups: Counts) -> npt.NDArray[np.float64]:
    """KL(P || Q) for each number of kept bins in ``candidates``, in nats."""
    mass = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    self_information = np.concatenate([[0.0], np.cumsum(_x_log_x(counts))])
    total, last = mass[-1], counts[candidates - 1].astype(np.float64)
    tail = total - mass[candidates]
    # sum P log P, in counts: the kept bins, the last of them with the tail on top
    p_log_p = self_information[candidates] - _x_log_x(last) + _x_log_x(last + tail)
    ends = candidates[:, None] * groups // groups[-1]
    group_mass, group_filled = np.diff(mass[ends]), np.diff(filled[ends])
    log_level = np.log(np.where(group_mass > 0, group_mass, 1) / np.maximum(group_filled, 1))
    p_log_q = (group_mass * log_level).sum(axis=1) + tail * log_level[:, -1]
    # normalizing P by the total and Q by the kept mass turns counts into probabilities
    return np.asarray((p_log_p - p_log_q) / total - np.log(total) + np.log(mass[candidates]), dtype=np.float64)


def _x_log_x(x: npt.NDArray[np.float64] | Counts) -> npt.NDArray[np.float64]:
    x = x.astype(np.float64)
    return np.asarray(x * np.log(np.where(x > 0, x, 1)), dtype=np.float64)
