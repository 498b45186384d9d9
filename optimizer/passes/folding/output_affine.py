"""A per-channel scale and shift of a weighted operator's output, absorbed into its weight and bias.

For y = W x + b and constants s, t per output channel: s y + t = (s W) x + (s b + t). Exact up to rounding; computed in
float64 and rounded once to the weight's own type.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, constant_array, constant_tensor
from graphs.reading.weighted import group, is_weighted, output_axis, output_channels
from graphs.writing.edits import GraphEdits, set_constant_input


def absorbing_channels(node: ir.Node) -> int | None:
    """Output channels of a weighted node with a bias, which can absorb an affine map; None for one that cannot."""
    if not is_weighted(node) or node.op_type == "MatMul" or len(node.inputs) < 2:
        return None
    weight = constant_tensor(node.inputs[1])
    if weight is None or not weight.dtype.is_floating_point():
        return None
    channels = int(output_channels(node, tuple(weight.shape.numpy())))
    return channels if _bias(node, channels) is not None else None


def output_rank(node: ir.Node) -> int:
    """Rank of a weighted node's output, which its weight's rank tells."""
    weight = constant_tensor(node.inputs[1])
    assert weight is not None
    return len(weight.shape)


def absorb(edits: GraphEdits, node: ir.Node, scale: Array, shift: Array) -> None:
    """Make ``node`` compute ``scale * node(x) + shift``; both have shape [output channels]."""
    weight = constant_array(node.inputs[1])
    bias = _bias(node, len(scale))
    assert weight is not None and bias is not None
    if np.any(scale != 1):
        scaled = weight.astype(np.float64) * _along_outputs(node, scale, weight)
        set_constant_input(edits, node, 1, scaled.astype(weight.dtype), "weight")
    new_bias = (bias * scale + shift).astype(weight.dtype)
    name = f"{node.inputs[1].name}_bias" if node.inputs[1] is not None else "bias"
    set_constant_input(edits, node, 2, new_bias, name)
    if node.op_type == "Gemm":
        node.attributes.pop("beta", None)


def _bias(node: ir.Node, channels: int) -> Array | None:
    """The bias as float64 [channels], zeros where there is none; None where it is not a constant per channel."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels)
    bias = constant_array(node.inputs[2])
    if bias is None or bias.size not in (1, channels) or (bias.ndim > 1 and bias.shape[-1] != bias.size):
        return None
    beta = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    return np.broadcast_to(bias.astype(np.float64).reshape(-1) * beta, (channels,))


def _along_outputs(node: ir.Node, scale: Array, weight: Array) -> Array:
    """``scale`` shaped to multiply ``weight`` along its output channels."""
    if node.op_type == "ConvTranspose":  # [C in, C out / group, ...], the groups stacked along axis 0
        per_group = np.repeat(scale.reshape(group(node), -1), weight.shape[0] // group(node), axis=0)
        return per_group.reshape(*per_group.shape, *[1] * (weight.ndim - 2))
    axis = output_axis(node, weight.ndim)
    return scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
