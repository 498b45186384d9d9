"""What every node of a typed graph computes in, read from its types: TensorRT 8 is told it beside the graph."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.macs import is_int8
from optimizer.precision import Dtype

_DTYPES = {
    ir.DataType.FLOAT: Dtype.FP32,
    ir.DataType.DOUBLE: Dtype.FP32,
    ir.DataType.FLOAT16: Dtype.FP16,
    ir.DataType.BFLOAT16: Dtype.FP32,
}
"""BF16 is none of TensorRT 8's types: FP32 holds all that it holds."""
_BETWEEN = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "Constant"})
"""Operators that compute in no precision: they lead from one to another."""


def rounded_nodes(model: ir.Model) -> frozenset[str]:
    """Nodes whose results are FP16: what may be computed so beside the graph; products in INT8 among them."""
    nodes = (node for node in model.graph.all_nodes() if node.op_type not in _BETWEEN)
    return frozenset(str(node.name) for node in nodes if any(v.dtype == ir.DataType.FLOAT16 for v in node.outputs))


def node_precisions(model: ir.Model) -> dict[str, Dtype]:
    """Node -> precision, branches and bodies included, for every node that reads or makes floats."""
    found: dict[str, Dtype] = {}
    for node in model.graph.all_nodes():
        kind = None if node.op_type in _BETWEEN else _precision(node)
        if kind is not None:
            found[str(node.name)] = Dtype.INT8 if is_int8(node) else kind
    return found


def _precision(node: ir.Node) -> Dtype | None:
    """That of its first result, or, where that is no float, of its first float operand."""
    for value in (*node.outputs, *node.inputs):
        if value is not None and value.dtype in _DTYPES:
            return _DTYPES[value.dtype]
    return None
