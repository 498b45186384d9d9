"""Rules 2, 3 and 11: which weighted ops can be integer, and along which axis their weights are quantized."""

from __future__ import annotations

import math

import onnx_ir as ir

from graphs.reading.constants import constant_tensor, input_at
from graphs.reading.weighted import WeightedOp, group, output_axis
from optimizer.quantization.rules.catalogue import Rule

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
MIN_REDUCTION = 8
"""Shortest dot product worth an integer kernel; a depthwise 3x3 (9) passes, a 1x1 over few channels does not.
Chosen."""
MIN_GEMM = 16
"""Smallest K and N of a matrix product (Model-Optimizer skips below; Tensor Core tiles are 16 wide). Chosen."""


def weighted_op(node: ir.Node) -> WeightedOp | str:
    """The op's view for quantization, or the reason (rules 3, 11) it must stay in high precision."""
    weight = constant_tensor(input_at(node, 1))
    if weight is None or node.inputs[1] is None:
        if node.op_type == "MatMul" and constant_tensor(node.inputs[0]) is not None:
            return Rule.EVERY_WEIGHTED_INPUT.reason("its constant stands on the left")
        if node.op_type == "MatMul":
            return Rule.ATTENTION.reason("both operands are computed")
        return Rule.EVERY_WEIGHTED_INPUT.reason("its weight is not a constant")
    if weight.dtype not in _FLOATS:
        return Rule.EVERY_WEIGHTED_INPUT.reason(f"its weight is {weight.dtype.name.lower()}")
    shape = tuple(weight.shape.numpy())
    if len(shape) < 2:
        return Rule.SMALL_OPS.reason("a matrix-vector product")
    if node.op_type == "ConvTranspose" and group(node) > 1:
        return Rule.SCALE_GRANULARITY.reason("a grouped ConvTranspose shares scales between groups")
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        return Rule.EVERY_WEIGHTED_INPUT.reason("Gemm with transA")
    axis = output_axis(node, len(shape))
    channels = shape[axis]
    reduction = math.prod(shape) // max(channels, 1)
    if node.op_type == "MatMul":
        reduction = shape[-2]
    op = WeightedOp(node, axis, channels, reduction)
    return too_small(op) or op


def too_small(op: WeightedOp) -> str:
    """Rule 11: the reason an op is too small for int8, or an empty string.

    Model-Optimizer's channel tests are stated in terms of the implicit GEMM, so that a 1-D conv over raw audio (one
    channel, 256 taps) counts as the wide product it is.
    """
    if op.channels == 0 or op.reduction == 0:
        return Rule.SMALL_OPS.reason("empty weight")
    if op.channels == 1:
        return Rule.SMALL_OPS.reason("one output channel, a matrix-vector product")
    if op.node.op_type in ("Gemm", "MatMul"):
        if op.channels < MIN_GEMM or op.reduction < MIN_GEMM:
            return Rule.SMALL_OPS.reason(f"K={op.reduction}, N={op.channels}, below {MIN_GEMM}")
        return ""
    if op.reduction < MIN_REDUCTION or op.channels < MIN_REDUCTION:
        return Rule.SMALL_OPS.reason(f"{op.channels} channels, dot product of {op.reduction}, below {MIN_REDUCTION}")
    return ""
