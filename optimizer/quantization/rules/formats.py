"""What a format asks of an op beside what every quantized op must be."""

from __future__ import annotations

from graphs.reading.weighted import WeightedOp
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.rules.catalogue import Rule

SMALLEST_WEIGHT = 1 << 14
"""Elements below which a weight is not worth storing as codes for its bytes alone: 32 KiB in FP16, where the kernel's
own start costs as much as reading them."""


def unfit(op: WeightedOp, scheme: Scheme) -> str:
    """The reason the weighted ``op`` cannot be of ``scheme``, or an empty string."""
    if scheme.weight_only and op.tensor.size < SMALLEST_WEIGHT:
        return Rule.SMALL_OPS.reason(f"{op.tensor.size} weights, below {SMALLEST_WEIGHT}")
    if not scheme.weights.block and not scheme.weight_only:
        return ""
    if op.node.op_type not in ("MatMul", "Gemm"):
        return Rule.BLOCKS.reason(f"a {op.node.op_type}")
    if len(op.tensor.shape) != 2:
        return Rule.BLOCKS.reason("its weight is a stack of matrices")
    block = scheme.weights.block
    if op.reduction < block:
        return Rule.SMALL_OPS.reason(f"K={op.reduction}, below a block of {block}")
    dynamic = scheme.activations is not None and scheme.activations.block
    if dynamic and op.reduction % block:
        return Rule.BLOCKS.reason(f"K={op.reduction} is no multiple of {block}")
    return ""
