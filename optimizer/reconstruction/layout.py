"""A weighted op's weight as the matrix that multiplies the rows of ``quantization.observing.patches``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp


def as_rows(op: WeightedOp, weight: Floats) -> Floats:
    """The weight as [outputs, reduction]."""
    return np.ascontiguousarray(np.moveaxis(weight, op.axis, 0).reshape(op.channels, -1))


def as_tensor(op: WeightedOp, rows: NDArray[Any]) -> NDArray[Any]:
    """Undo ``as_rows`` (weights of matrix products have rank two, convolutions have their outputs first)."""
    shape = tuple(op.tensor.shape.numpy())
    return np.ascontiguousarray(rows.T) if op.axis == 1 else rows.reshape(shape)


def fours_of(op: WeightedOp) -> NDArray[np.intp]:
    """The columns of ``as_rows`` that stand together in the 2:4 pattern, [reduction / 4, 4]: four input channels in a
    row, of a convolution at the same tap.
    """
    taps = int(np.prod(op.tensor.shape.numpy()[2:])) if op.node.op_type == "Conv" else 1
    columns = np.arange(op.reduction).reshape(-1, 4, taps)
    return np.ascontiguousarray(columns.transpose(0, 2, 1).reshape(-1, 4))
