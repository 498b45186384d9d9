"""Clip a fixed share of the values, the largest in magnitude."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibration.histogram import Histogram
from calibration.methods.chosen import Chosen, within_observed
from calibration.statistics import TensorStatistics
from graphs.reading.number_types import NumberType

DEFAULT_PERCENTILE = 99.99
"""Percent of the magnitudes that a range covers: one of the percentiles tried by Wu et al. (2020)."""


def percentile(statistics: TensorStatistics, _: NumberType, percent: float = DEFAULT_PERCENTILE) -> Chosen:
    """``amax`` covers ``percent`` of ``|x|``; ``low`` and ``high`` leave half of the rest on each side."""
    histogram = statistics.histogram
    if histogram is None or percent >= 100:
        return Chosen(statistics.absmax, statistics.minimum, statistics.maximum)
    tail = (100 - percent) / 200
    magnitudes = histogram.magnitudes()
    edges = histogram.magnitude_edges()
    amax = quantile(magnitudes, edges, histogram.zeros, percent / 100)
    split = -histogram.first  # bins below it are negative, exact zeros lie between them and the rest
    low, high = (_signed_quantile(histogram, split, share) for share in (tail, 1 - tail))
    return within_observed(statistics, amax, low, high)


def quantile(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.float64], before: int, share: float) -> float:
    """The value below which ``share`` of ``before + sum(counts)`` lies, linear within bins; ``before`` values lie at
    the first edge.
    """
    cumulative = np.concatenate([[before], before + np.cumsum(counts)])
    return float(np.interp(share * cumulative[-1], cumulative, edges)) if cumulative[-1] else 0.0


def _signed_quantile(histogram: Histogram, split: int, share: float) -> float:
    """As ``quantile``, with the exact zeros at their place between negative and positive bins."""
    edges, counts = histogram.edges(), histogram.counts
    if not 0 <= split <= len(counts):
        return quantile(counts, edges, 0, share)
    counts = np.concatenate([counts[:split], [histogram.zeros], counts[split:]])
    return quantile(counts, np.insert(edges, split, 0.0), 0, share)
