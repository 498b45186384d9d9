"""The choice by magnitude: of every four weights in a row along the reduction the largest two stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs.reading.two_four import in_fours

Array = NDArray[Any]
TWO_FOUR = "2:4"


def prune_two_four(weight: Array, axis: int) -> Array:
    """A copy of ``weight`` with the two smallest magnitudes of every four along ``axis`` set to zero.

    ``weight.shape[axis]`` must be a multiple of 4. Of equal magnitudes the first ones stay.
    """
    groups = in_fours(weight, axis)
    magnitude = np.abs(groups)
    larger = np.zeros(groups.shape, np.int8)
    for i in range(4):
        for j in range(i + 1, 4):
            first = magnitude[..., i] >= magnitude[..., j]
            larger[..., j] += first
            larger[..., i] += ~first
    rows = np.where(larger < 2, groups, groups.dtype.type(0)).reshape(*groups.shape[:-2], -1)
    return np.ascontiguousarray(np.moveaxis(rows, -1, axis))
