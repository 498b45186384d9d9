"""2:4 sparsity as a graph shows it: the pattern of a weight, wherever between constant and product it is stored.

Ampere and later sparse tensor cores skip two zeros of every four weights in a row along the input channels: for Conv
along C of K C R S for every (k, r, s), for Gemm and MatMul along K. Source: Mishra et al., "Accelerating Sparse Deep
Neural Networks", arXiv:2104.08378, and the sparsity section of the TensorRT developer guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.reading.constants import constant_tensor
from graphs.reading.operators import is_standard
from graphs.reading.weighted import group, is_weighted, reduction_axis

Array = NDArray[Any]
SPARSE_OPS = ("Conv", "Gemm", "MatMul")
"""Operators that TensorRT has sparse tactics for (developer guide, "Sparsity")."""
_LOOKED_AT_FIRST = 4096
"""Fours looked at before all of them: most dense weights show in a few. Chosen."""
_SAME = ("Cast", "Identity", "QuantizeLinear")
"""Operators that leave zeros where they are; of QuantizeLinear only without a zero point."""
_MOST_STEPS = 8
"""Operators between a product and the constant that it reads, at most: Q, DQ, Cast and Transpose make four. Chosen."""


def is_two_four(weight: Array, axis: int) -> bool:
    """Whether every four consecutive weights along ``axis`` hold at least two zeros."""
    if weight.ndim <= axis or weight.shape[axis] % 4 or not weight.size:
        return False
    fours = in_fours(weight, axis)
    few = fours[: max(_LOOKED_AT_FIRST // max(fours[:1].size // 4, 1), 1)]
    return _two_zeros(few) and _two_zeros(fours)


def _two_zeros(fours: Array) -> bool:
    return bool(np.all(np.count_nonzero(fours, axis=-1) <= 2))


def in_fours(weight: Array, axis: int) -> Array:
    """``weight`` with ``axis`` last and cut in fours: [..., K / 4, 4]."""
    if weight.shape[axis] % 4:
        raise ValueError(f"axis {axis} of shape {weight.shape} is no multiple of 4")
    moved = np.moveaxis(weight, axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, 4)


def two_four_products(model: ir.Model) -> frozenset[str]:
    """Names of the products whose weight is 2:4 along the axis that they sum over, and not zero throughout."""
    found = set()
    for graph in model.graphs():
        for node in graph:
            if node.op_type not in SPARSE_OPS or not is_weighted(node) or group(node) > 1:
                continue
            weight = weight_of(node)
            if weight is not None and weight.ndim >= 2 and is_two_four(weight, reduction_axis(node, weight.ndim)):
                found |= {str(node.name)} if np.any(weight) else set()
    return frozenset(found)


def weight_of(node: ir.Node) -> NDArray[Any] | None:
    """The constant weight of a product, zeros where it is zero, seen through Q/DQ, casts and transpositions; None where
    it is computed.
    """
    value, orders = node.inputs[1], list[list[int]]()
    for _ in range(_MOST_STEPS):
        tensor = constant_tensor(value)
        if tensor is not None:
            return _transposed(tensor.numpy(), orders)
        maker = value.producer() if value is not None else None
        if maker is None or not is_standard(maker):
            return None
        if maker.op_type == "DequantizeLinear":
            if (codes := _codes(maker)) is not None:
                return _transposed(codes, orders)
            if not _zero_at_zero(maker):
                return None
        elif maker.op_type == "Transpose":
            orders.append(list(maker.attributes.get_ints("perm", ())))
        elif maker.op_type not in _SAME or not _zero_at_zero(maker):
            return None
        value = maker.inputs[0]
    return None


def _transposed(array: Array, orders: Sequence[Sequence[int]]) -> Array:
    """``array`` in the last of ``orders``, then in those before; an empty one turns all axes around."""
    for order in reversed(orders):
        array = np.transpose(array, order or None)
    return array


def _codes(maker: ir.Node) -> NDArray[Any] | None:
    """Codes less their zero point, where both are constant."""
    tensor = constant_tensor(maker.inputs[0])
    if tensor is None:
        return None
    codes = tensor.numpy()
    if len(maker.inputs) < 3 or maker.inputs[2] is None:
        return codes
    zero = constant_tensor(maker.inputs[2])
    if zero is None:
        return None
    point = zero.numpy()
    if not np.any(point):
        return codes
    if point.ndim == 1 and len(point) > 1:
        axis = maker.attributes.get_int("axis", 1) % codes.ndim
        point = point.reshape([-1 if index == axis else 1 for index in range(codes.ndim)])
    elif point.ndim > 1:
        return None  # by blocks
    return codes.astype(np.int32) - point.astype(np.int32)


def _zero_at_zero(maker: ir.Node) -> bool:
    """Whether a Q or DQ node maps zero to zero, as a Cast does."""
    if maker.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(maker.inputs) < 3 or maker.inputs[2] is None:
        return True
    zero = constant_tensor(maker.inputs[2])
    return zero is not None and not np.any(zero.numpy())
