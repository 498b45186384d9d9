"""Affine quantizers as plain functions: values to codes and back, for corrections that work on captured values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from graphs.reading.number_types import Floats, NumberType

Quantizer: TypeAlias = Callable[[Floats], Floats]
"""Sends values through the quantizer of an activation and back."""
_ENOUGH = 1 << 17
"""Elements on which a clipping fraction is chosen."""
FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Parts of the full range that clipping is tried at. Chosen."""


@dataclass(frozen=True)
class Affine:
    """Codes ``x / scale + zero`` of type ``numbers``, the nearest, and back. Of floating-point ones ``zero`` is 0."""

    scale: float
    zero: int
    numbers: NumberType

    def __call__(self, values: Floats) -> Floats:
        """``values`` rounded; one temporary, the result."""
        scale = np.float32(self.scale)
        steps: Floats = np.divide(values, scale, dtype=np.float32)
        self.numbers.round(steps, self.zero)
        steps *= scale
        return steps

    def through(self, anchor: float) -> Affine:
        """The nearest scale of which ``anchor`` is a whole number of steps."""
        return replace(self, scale=anchor / max(round(anchor / self.scale), 1))


def best(tried: Iterable[Affine], values: Floats) -> Affine:
    """The quantizer with the least squared error on ``values``."""
    some = values[:: max(values.size // _ENOUGH, 1)]

    def squared(quantizer: Affine) -> float:
        error = quantizer(some)
        error -= some
        return float(np.vdot(error, error))

    return min(tried, key=squared)
