"""The threshold that loses the least information: least Kullback-Leibler divergence between the clipped distribution
and its quantized form. S. Migacz, "8-bit Inference with TensorRT", GTC 2017.

The quantized form joins the bins below a threshold into as many groups as there are codes; a group's mass is spread
over its non-empty bins. With running sums, a candidate costs one look-up per code and all are scored at once. The
histogram has 2048 to 4096 bins a side; with as many bins as codes every candidate would be a perfect fit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibration.methods.chosen import Chosen, within_observed
from calibration.statistics import TensorStatistics

Counts = npt.NDArray[np.int64]

SIGNED_CODES = 128  # codes for magnitudes in int8
MOST_CLIPPED = 0.001
"""Share of the values that a threshold may clip at most. Chosen."""
UNSIGNED_CODES = 256  # codes of a one-sided tensor in uint8


def entropy(statistics: TensorStatistics) -> Chosen:
    """Exact zeros take no part: they quantize exactly whatever the threshold."""
    histogram = statistics.histogram
    if histogram is None or not histogram.counts.any():
        return Chosen(statistics.absmax, statistics.minimum, statistics.maximum)
    magnitudes = histogram.magnitudes()
    amax = best_bin_count(magnitudes, SIGNED_CODES) * histogram.width
    bound = amax
    if statistics.minimum >= 0 or statistics.maximum <= 0:
        bound = best_bin_count(magnitudes, UNSIGNED_CODES) * histogram.width
    return within_observed(statistics, amax, -bound, bound)


def best_bin_count(counts: Counts, codes: int) -> int:
    """How many leading bins to keep; ``len(counts)`` where there are no more bins than codes.

    Where one value is very frequent (the background of an image) a threshold just there hides any clipped tail in that
    value's bin, and the published search clips a quarter of the data. So thresholds that clip more than
    ``MOST_CLIPPED`` are not considered.
    """
    fewest = np.searchsorted(np.cumsum(counts), (1 - MOST_CLIPPED) * counts.sum()) + 1
    candidates = np.arange(max(codes, int(fewest)), len(counts) + 1)
    # A clipped tail is added to the last bin kept; were that bin empty, its quantized form would have no mass there.
    candidates = candidates[counts[candidates - 1] > 0] if len(candidates) else candidates
    if not len(candidates):
        return len(counts)
    return int(candidates[np.argmin(divergences(counts, candidates, codes))])


def divergences(counts: Counts, candidates: Counts, codes: int) -> npt.NDArray[np.float64]:
    """KL(P || Q) for each number of kept bins in ``candidates``, in nats."""
    mass = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    self_information = np.concatenate([[0.0], np.cumsum(_x_log_x(counts))])
    total, last = mass[-1], counts[candidates - 1].astype(np.float64)
    tail = total - mass[candidates]
    # sum P log P, in counts: the kept bins, the last of them with the tail on top
    p_log_p = self_information[candidates] - _x_log_x(last) + _x_log_x(last + tail)
    groups = candidates[:, None] * np.arange(codes + 1) // codes
    group_mass, group_filled = np.diff(mass[groups]), np.diff(filled[groups])
    log_level = np.log(np.where(group_mass > 0, group_mass, 1) / np.maximum(group_filled, 1))
    p_log_q = (group_mass * log_level).sum(axis=1) + tail * log_level[:, -1]
    # normalizing P by the total and Q by the kept mass turns counts into probabilities
    return np.asarray((p_log_p - p_log_q) / total - np.log(total) + np.log(mass[candidates]), dtype=np.float64)


def _x_log_x(x: npt.NDArray[np.float64] | Counts) -> npt.NDArray[np.float64]:
    x = x.astype(np.float64)
    return np.asarray(x * np.log(np.where(x > 0, x, 1)), dtype=np.float64)
