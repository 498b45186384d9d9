"""The 2:4 pattern: of every four weights in a row along the reduction, two at most are not zero.

Ampere and later sparse tensor cores skip the two zeros. The row runs along the input channels: for Conv along C of
K C R S for every (k, r, s), for Gemm and MatMul along K. Source: Mishra et al., "Accelerating Sparse Deep Neural
Networks", arXiv:2104.08378, and the sparsity section of the TensorRT developer guide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TWO_FOUR = "2:4"
_LOOKED_AT_FIRST = 4096
"""Fours looked at before all of them: most dense weights show in a few."""


def prune_two_four(weight: Array, axis: int) -> Array:
    """A copy of ``weight`` with the two smallest magnitudes of every four along ``axis`` set to zero.

    ``weight.shape[axis]`` must be a multiple of 4. Of equal magnitudes the first ones stay.
    """
    groups = _groups(weight, axis)
    magnitude = np.abs(groups)
    larger = np.zeros(groups.shape, np.int8)
    for i in range(4):
        for j in range(i + 1, 4):
            first = magnitude[..., i] >= magnitude[..., j]
            larger[..., j] += first
            larger[..., i] += ~first
    rows = np.where(larger < 2, groups, groups.dtype.type(0)).reshape(*groups.shape[:-2], -1)
    return np.ascontiguousarray(np.moveaxis(rows, -1, axis))


def is_two_four(weight: Array, axis: int) -> bool:
    """Whether every four consecutive weights along ``axis`` hold at least two zeros."""
    if weight.ndim <= axis or weight.shape[axis] % 4 or not weight.size:
        return False
    fours = _groups(weight, axis)
    few = fours[: max(_LOOKED_AT_FIRST // max(fours[:1].size // 4, 1), 1)]
    return _two_zeros(few) and _two_zeros(fours)


def _two_zeros(fours: Array) -> bool:
    return bool(np.all(np.count_nonzero(fours, axis=-1) <= 2))


def _groups(weight: Array, axis: int) -> Array:
    """``weight`` with ``axis`` last and cut in fours: [..., K / 4, 4]."""
    if weight.shape[axis] % 4:
        raise ValueError(f"axis {axis} of shape {weight.shape} is no multiple of 4")
    moved = np.moveaxis(weight, axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, 4)
