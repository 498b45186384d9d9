"""What every method returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from calibration.statistics import TensorStatistics


@dataclass(frozen=True)
class Chosen:
    """A symmetric threshold ``amax`` and an asymmetric range ``low <= high``, all within the observed extremes."""

    amax: float
    low: float
    high: float


RangeMethod: TypeAlias = Callable[[TensorStatistics], Chosen]


def within_observed(statistics: TensorStatistics, amax: float, low: float, high: float) -> Chosen:
    """Clamp a choice to what was observed, so that bin edges never widen a range."""
    low = min(max(low, statistics.minimum), statistics.maximum)
    high = max(min(high, statistics.maximum), low)
    return Chosen(min(amax, statistics.absmax), low, high)
