"""The values that rounding leaves a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.quantization.weights import Floats


@dataclass(frozen=True)
class Grid:
    """Whole multiples, up to ``top``, of ``scale`` [groups, outputs]."""

    scale: Floats
    top: int

    def nearest(self, values: Floats) -> Floats:
        """Of [groups, outputs], or [groups, ..., outputs]."""
        scale = self.scale.reshape(len(self.scale), *(1,) * (values.ndim - 2), -1)
        rounded: Floats = np.clip(np.rint(values / scale), -self.top, self.top) * scale
        return rounded
