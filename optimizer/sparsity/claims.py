"""Is a weight that is said to be 2:4 still that in the graph an engine is built from? Looked at, never assumed.

Weights may have gone through equalization, rounding to codes, a cast or a transposition since they were pruned. Each is
followed from its product back to the constant, and the pattern checked along the axis that the product sums over, which
is the one TensorRT's sparse tactics need it along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.constants import constant_tensor
from graphs.operators import is_standard
from graphs.weighted import is_weighted, reduction_axis
from optimizer.precision import NodePrecision
from optimizer.sparsity.pattern import TWO_FOUR, is_two_four
from optimizer.sparsity.record import DENSE, NodeSparsity

_SAME = ("Cast", "Identity", "QuantizeLinear")
"""Operators that leave zeros where they are; of QuantizeLinear only without a zero point."""
_MOST_STEPS = 8


def with_sparsity(
    nodes: Mapping[str, NodePrecision], claims: Mapping[str, NodeSparsity], written: ir.Model
) -> tuple[dict[str, NodePrecision], list[str]]:
    """``nodes`` of a plan with what is true of their sparsity in ``written``; and a line for each claim that is not."""
    held = confirmed(claims, written)
    found = dict(nodes)
    for name, claim in held.items():
        if name in found:
            pattern = TWO_FOUR if claim.sparse else ""
            found[name] = replace(found[name], sparsity=pattern, sparsity_reason=claim.reason)
    lost = [name for name, claim in claims.items() if claim.sparse and not held[name].sparse]
    return found, [f"{name}: pruned to 2:4, but {held[name].reason}" for name in lost]


def confirmed(claims: Mapping[str, NodeSparsity], written: ir.Model) -> dict[str, NodeSparsity]:
    """``claims`` as they hold in ``written``: where a weight is not 2:4 there, it is said to be dense, and why."""
    nodes = {str(node.name): node for graph in written.graphs() for node in graph}
    return {name: _looked_at(claim, nodes.get(name)) if claim.sparse else claim for name, claim in claims.items()}


def _looked_at(claim: NodeSparsity, node: ir.Node | None) -> NodeSparsity:
    if node is None or not is_weighted(node):
        return replace(claim, pattern=DENSE, reason="the typed graph has no such product, so nothing is claimed")
    weight = weight_of(node)
    if weight is None:
        return replace(claim, pattern=DENSE, reason="its weight is computed in the typed graph, so nothing is claimed")
    if not is_two_four(weight, reduction_axis(node, weight.ndim)):
        return replace(claim, pattern=DENSE, reason="its weight is not 2:4 any more in the typed graph")
    return claim


def weight_of(node: ir.Node) -> NDArray[Any] | None:
    """The constant weight of a product, zeros where it is zero, seen through Q/DQ, casts and transpositions; None where
    it is computed.
    """
    value, orders = node.inputs[1], list[list[int]]()
    for _ in range(_MOST_STEPS):
        tensor = constant_tensor(value)
        if tensor is not None:
            array = tensor.numpy()
            for order in reversed(orders):
                array = np.transpose(array, order or None)
            return array
        maker = value.producer() if value is not None else None
        if maker is None or not is_standard(maker):
            return None
        if maker.op_type == "DequantizeLinear":
            if (codes := _codes(maker)) is not None:
                for order in reversed(orders):
                    codes = np.transpose(codes, order or None)
                return codes
            if not _zero_at_zero(maker):
                return None
        elif maker.op_type == "Transpose":
            orders.append(list(maker.attributes.get_ints("perm", ())))
        elif maker.op_type not in _SAME or not _zero_at_zero(maker):
            return None
        value = maker.inputs[0]
    return None


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
