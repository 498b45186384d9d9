"""Q and DQ as TensorRT 8 takes them: three inputs, FP32 constant scales, weights as FP32 constant, Q, DQ.

An int8 constant behind a DQ is refused by its parser ("invalid weights type of Int8"). Codes times scale, quantized
with that scale, are the codes again: the product and the quotient are each off by 2^-24 of a code of at most 128.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, along, constant_array, constant_tensor, input_at
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, drop_if_unread
from graphs.writing.lazy_tensors import lazily

_FLOAT, _INT8 = ir.DataType.FLOAT, ir.DataType.INT8
_GAINED = ("saturate", "output_dtype", "precision", "block_size")
"""Attributes that came after opset 17: the zero point tells the type, and a block has no form there."""


def quantizers_in_fp32(model: ir.Model) -> list[str]:
    """Write every Q and DQ so, in place; what cannot be stays for the lint to name. Returns notes."""
    edits = GraphEdits(model.graph)
    stored = folded = 0
    for graph in model.graphs():
        for node in list(graph):
            if not is_standard(node):
                continue
            if node.op_type == "DequantizeLinear" and constant_tensor(node.inputs[0]) is not None:
                if _is_plain_int8(node):
                    _quantize_here(edits.within(graph), node)
                    stored += 1
                elif _fold(edits.within(graph), node):
                    folded += 1
                    continue
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                _three_inputs(edits.within(graph), node)
    notes = [f"{stored} int8 weights written as FP32 behind a QuantizeLinear of their own"] if stored else []
    return notes + ([f"{folded} constants dequantized: TensorRT 8 has no such codes"] if folded else [])


def _is_plain_int8(node: ir.Node) -> bool:
    """int8 codes around 0 with one scale, or one for each channel."""
    codes, scale = constant_tensor(node.inputs[0]), constant_array(node.inputs[1])
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    return (
        codes is not None
        and codes.dtype == _INT8
        and scale is not None
        and (scale.ndim <= 1 or scale.size == 1)
        and not node.attributes.get_int("block_size", 0)
        and (zero is None or not np.any(zero))
    )


def _quantize_here(edits: GraphEdits, node: ir.Node) -> None:
    """Put the FP32 numbers and a Q in place of the codes."""
    codes, scale = node.inputs[0], constant_array(node.inputs[1])
    tensor = constant_tensor(codes)
    assert codes is not None and tensor is not None and scale is not None
    axis = node.attributes.get_int("axis", 1)
    steps = along(scale, axis, len(tensor.shape))
    name = str(codes.name).removesuffix("/int8")
    floats = lazily(lambda array: array.astype(np.float32) * steps, tensor, f"{name}/fp32", dtype=_FLOAT)
    quantize = edits.node(
        "QuantizeLinear",
        [edits.initializer(floats), *node.inputs[1:]],
        f"{name}/Q",
        f"{name}/codes",
        _INT8,
        codes.shape,
    )
    quantize.attributes.update(node.attributes)
    edits.graph.insert_before(node, [quantize])
    node.replace_input_with(0, quantize.outputs[0])
    _three_inputs(edits, quantize)
    drop_if_unread(edits.graph, codes)


def _fold(edits: GraphEdits, node: ir.Node) -> bool:
    """Put the FP32 numbers in place of a DQ of constants that are no int8 around 0."""
    codes, scale = constant_array(node.inputs[0]), constant_array(node.inputs[1])
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if codes is None or scale is None:
        return False
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    steps = codes.astype(np.float32)
    if zero is not None:
        steps = steps - _spread(zero.astype(np.float32), axis, block, codes.shape)
    value = node.outputs[0]
    floats = edits.constant(f"{value.name}/fp32", steps * _spread(scale.astype(np.float32), axis, block, codes.shape))
    if value.is_graph_output():
        return False
    value.replace_all_uses_with(floats)
    edits.graph.remove(node, safe=True)
    return True


def _spread(numbers: Array, axis: int, block: int, shape: tuple[int, ...]) -> Array:
    """Scales or zero points for every element: for all, for a channel, or for a block along ``axis``."""
    if block:
        repeated: Array = np.repeat(numbers, block, axis=axis)
        return np.take(repeated, np.arange(shape[axis]), axis=axis)
    return along(numbers, axis, len(shape))


def _three_inputs(edits: GraphEdits, node: ir.Node) -> None:
    """An int8 zero point of 0 for each scale where there is none; an axis only where there are several scales."""
    if node.attributes.get_int("block_size", 0) == 0:
        for name in _GAINED:
            node.attributes.pop(name, None)
    scale = constant_array(node.inputs[1])
    if scale is None:
        return
    codes = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    given = input_at(node, 2)
    if given is None and codes is not None and codes.dtype == _INT8:
        node.resize_inputs(3)
        node.replace_input_with(2, edits.constant(f"{node.name}/zero", np.zeros(scale.shape, np.int8)))
    rank = len(codes.shape) if codes is not None and codes.shape is not None else 0
    if scale.size == 1:
        node.attributes.pop("axis", None)
    elif rank and node.attributes.get_int("axis", 1) < 0:
        node.attributes["axis"] = ir.AttrInt64("axis", node.attributes.get_int("axis", 1) + rank)
