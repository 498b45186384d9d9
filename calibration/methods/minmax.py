"""The observed extremes: nothing is clipped."""

from __future__ import annotations

from calibration.methods.chosen import Chosen
from calibration.statistics import TensorStatistics
from graphs.reading.number_types import NumberType


def minmax(statistics: TensorStatistics, _: NumberType) -> Chosen:
    return Chosen(statistics.absmax, statistics.minimum, statistics.maximum)
