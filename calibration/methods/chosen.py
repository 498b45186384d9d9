"""What every method returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from calibration.statistics import TensorStatistics
from graphs.reading.number_types import NumberType


@dataclass(frozen=True)
class Chosen:
    """A symmetric threshold ``amax`` and an asymmetric range ``low <= high``, all within the observed extremes."""

    amax: float
    low: float
    high: float


RangeMethod: TypeAlias = Callable[[TensorStatistics, NumberType], Chosen]
"""Takes what the codes will be, too."""


def within_observed(statistics: TensorStatistics, amax: float, low: float, high: float) -> Chosen:
    """Clamp a choice to what was observed, so that bin edges never widen a range."""
    low = min(max(low, statistics.minimum), statistics.maximum)
    high = max(min(high, statistics.maximum), low)
    return Chosen(min(amax, statistics.absmax), low, high)
