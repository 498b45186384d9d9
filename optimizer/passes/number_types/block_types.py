"""Quantizers in blocks of TensorRT's own in a graph of half precision: typed as TensorRT's parser takes them.

They are no operators of the standard, so typing leaves them in FP32 with Casts around them. But their data may be half
precision, and the dequantizer of MXFP8 yields nothing else (its parser ends the process over a float32 result). FP4 is
new in opset 23.
"""

from __future__ import annotations

import onnx_ir as ir
from onnxscript import version_converter

from graphs.tensorrt.block_quantizers import MX_DEQUANTIZER, QUANTIZERS
from optimizer.passes.base import PassResult

FP4_OPSET = 23
"""First opset whose QuantizeLinear and DequantizeLinear know FLOAT4E2M1."""


class BlockTypes:
    """Lets quantizers in blocks read half precision, and MXFP8's dequantizers make it, without Casts."""

    name = "types of blocks"

    def apply(self, model: ir.Model) -> PassResult:
        changed = 0
        for node in list(model.graph):
            if node.op_type in QUANTIZERS:
                changed += _read_half(node)
            elif node.op_type == MX_DEQUANTIZER:
                changed += _make_half(node)
        if _has_fp4(model) and model.opset_imports.get("", 0) < FP4_OPSET:
            version_converter.ConvertVersionPass(target_version=FP4_OPSET)(model)
            changed += 1
        return PassResult(changed)


def _has_fp4(model: ir.Model) -> bool:
    return any(value.dtype is ir.DataType.FLOAT4E2M1 for value in model.graph.initializers.values())


def _read_half(node: ir.Node) -> int:
    cast = node.inputs[0].producer() if node.inputs[0] is not None else None
    if cast is None or cast.op_type != "Cast" or cast.inputs[0] is None:
        return 0
    node.replace_input_with(0, cast.inputs[0])
    if not cast.outputs[0].uses() and not cast.outputs[0].is_graph_output() and cast.graph is not None:
        cast.graph.remove(cast, safe=True)
    return 1


def _make_half(node: ir.Node) -> int:
    """Where all that reads the result are Casts to one half precision."""
    output = node.outputs[0]
    casts = [use.node for use in output.uses()]
    kinds = {cast.attributes.get_int("to", 0) for cast in casts if cast.op_type == "Cast"}
    if not casts or len(kinds) != 1 or any(cast.op_type != "Cast" for cast in casts) or output.is_graph_output():
        return 0
    (kind,) = kinds
    node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", kind)
    output.type = ir.TensorType(ir.DataType(kind))
    for cast in casts:
        made = cast.outputs[0]
        made.replace_all_uses_with(output, replace_graph_outputs=True)
        assert cast.graph is not None
        cast.graph.remove(cast, safe=True)
    return 1
