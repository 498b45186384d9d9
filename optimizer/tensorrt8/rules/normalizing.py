"""Normalizations written out: 8.5 has no LayerNormalization and GroupNormalization, and InstanceNormalization is a
plugin that wants cuDNN. Means, roots and quotients it fuses itself; the steps are those that PyTorch exports.
"""

from __future__ import annotations

import onnx_ir as ir

from optimizer.tensorrt8.rewriting import Spot


def layer_norm(spot: Spot) -> bool:
    """(x - mean) / sqrt(mean((x - mean)²) + epsilon) · scale + bias over the axes from ``axis`` on."""
    data, axis = spot.data(), spot.node.attributes.get_int("axis", -1)
    if axis >= 0:
        if data.shape is None:
            return False
        axis -= len(data.shape)
    normal, mean, deviation = _normalized(spot, data, list(range(axis, 0)))
    scaled = _shifted(spot, _times(spot, normal, spot.input(1)), spot.input(2))
    inverse = spot.do("Reciprocal", deviation) if len(spot.node.outputs) > 2 else None
    spot.deliver(scaled, mean, inverse)
    return True


def group_norm(spot: Spot) -> bool:
    """The same over the channels of each group, brought to the last axis; then a scale and a bias per channel."""
    data = spot.data()
    if data.shape is None or "num_groups" not in spot.node.attributes:
        return False
    groups = spot.node.attributes.get_int("num_groups", 1)
    grouped = spot.do("Reshape", data, spot.integers([0, groups, -1]))
    normal, _, _ = _normalized(spot, grouped, [-1])
    return per_channel(spot, spot.do("Reshape", normal, spot.shape_of(data)), len(data.shape))


def instance_norm(spot: Spot) -> bool:
    """The same over the places of each channel."""
    data = spot.data()
    if data.shape is None or len(data.shape) < 3:
        return False
    normal, _, _ = _normalized(spot, data, list(range(2 - len(data.shape), 0)))
    return per_channel(spot, normal, len(data.shape))


def _normalized(spot: Spot, data: ir.Value, axes: list[int]) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The normalized values, their mean and their deviation. Squares stay FP32, and an epsilon of 1e-12 that is 0 in
    FP16, as in an operator of its own.
    """
    mean = spot.do("ReduceMean", data, axes=axes)
    away = spot.do("Sub", data, mean)
    variance = spot.in_fp32("ReduceMean", spot.in_fp32("Pow", away, spot.number(2.0)), axes=axes)
    epsilon = spot.number(spot.node.attributes.get_float("epsilon", 1e-5))
    deviation = spot.in_fp32("Sqrt", spot.in_fp32("Add", variance, epsilon))
    return spot.in_fp32("Div", away, deviation), mean, deviation


def per_channel(spot: Spot, normal: ir.Value, rank: int) -> bool:
    """Deliver ``normal`` with the node's scale and bias, one of each per channel."""
    shape = spot.integers([-1, *[1] * (rank - 2)])
    scale, bias = (spot.do("Reshape", spot.input(index), shape) for index in (1, 2))
    spot.deliver(spot.do("Add", spot.do("Mul", normal, scale), bias))
    return True


def _times(spot: Spot, value: ir.Value, scale: ir.Value | None) -> ir.Value:
    return value if scale is None else spot.do("Mul", value, scale)


def _shifted(spot: Spot, value: ir.Value, bias: ir.Value | None) -> ir.Value:
    return value if bias is None else spot.do("Add", value, bias)
