"""Affine quantizers as plain functions: values to codes and back, for corrections that work on captured values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from optimizer.quantization.weights import Floats

Quantizer: TypeAlias = Callable[[Floats], Floats]
"""Sends values through the quantizer of an activation and back."""
_ENOUGH = 1 << 17
"""Elements on which a clipping fraction is chosen."""
FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Parts of the full range that clipping is tried at."""


@dataclass(frozen=True)
class Affine:
    """Codes ``rint(x / scale) + zero`` from ``lowest`` to ``highest`` and back."""

    scale: float
    zero: int
    lowest: int
    highest: int

    def __call__(self, values: Floats) -> Floats:
        """``values`` rounded; one temporary, the result."""
        scale = np.float32(self.scale)
        steps: Floats = np.divide(values, scale, dtype=np.float32)
        np.rint(steps, out=steps)
        np.clip(steps, self.lowest - self.zero, self.highest - self.zero, out=steps)
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
