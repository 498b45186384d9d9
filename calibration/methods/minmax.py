"""The observed extremes: nothing is clipped."""

from __future__ import annotations

from calibration.methods.chosen import Chosen
from calibration.statistics import TensorStatistics


def minmax(statistics: TensorStatistics) -> Chosen:
    return Chosen(statistics.absmax, statistics.minimum, statistics.maximum)
