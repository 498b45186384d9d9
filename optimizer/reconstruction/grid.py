"""The values that rounding leaves a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import Floats, NumberType


@dataclass(frozen=True)
class Grid:
    """Numbers of a type times ``scale`` [groups, outputs]; [groups, outputs, inputs] where that differs by column."""

    scale: Floats
    numbers: NumberType

    def nearest(self, values: Floats) -> Floats:
        """Of [groups, outputs], or [groups, ..., outputs]; scales by output alone."""
        scale = self.scale.reshape(len(self.scale), *(1,) * (values.ndim - 2), -1)
        rounded: Floats = values / scale
        self.numbers.round(rounded)
        rounded *= scale
        return rounded

    def ordered(self, order: NDArray[np.intp]) -> Grid:
        """With columns in another order, [groups, inputs]."""
        if self.scale.ndim == 2:
            return self
        return Grid(np.take_along_axis(self.scale, order[:, None], axis=2), self.numbers)

    def column(self, index: int) -> Grid:
        """That of one column, by output alone."""
        return self if self.scale.ndim == 2 else Grid(self.scale[..., index], self.numbers)
