"""Every product of a graph as the matrix product that tensor cores see."""

from __future__ import annotations

import math

import onnx_ir as ir

from benchmarks.roofline.kernels import Product
from graphs.reading.macs import NodeCost, is_int8
from graphs.reading.shapes import static_shape
from graphs.reading.weighted import operands

_FLOAT8 = {ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2}
_HALF = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


def product(node: ir.Node, cost: NodeCost) -> Product | None:
    """The product a node is; None for operators that multiply no matrices, or whose shapes are unknown."""
    if not cost.macs:
        return None
    first, second = operands(node) or (0, 1)
    output, other = static_shape(node.outputs[0]), static_shape(node.inputs[second])
    if output is None or other is None:
        return None
    name, dtype = str(node.name), _dtype(node, first)
    if "Conv" in node.op_type:
        return _convolution(node, name, dtype, cost.macs, output, other)
    columns = max(output[-1], 1) if output and len(other) > 1 else 1
    groups = max(math.prod(output[:-2]), 1) if "MatMul" in node.op_type and len(other) > 2 else 1
    rows = max(math.prod(output) // columns // groups, 1)
    reduction = max(cost.macs // (rows * columns * groups), 1)
    return Product(name, dtype, "tensor", cost.macs, rows, columns, reduction, groups)


def _convolution(
    node: ir.Node, name: str, dtype: str, macs: int, output: tuple[int, ...], weight: tuple[int, ...]
) -> Product:
    groups = node.attributes.get_int("group", 1)
    columns = output[1] // groups
    rows = output[0] * math.prod(output[2:])
    unit = "vector" if groups > 1 and weight[1] == 1 else "tensor"
    return Product(name, dtype, unit, macs, rows, columns, weight[1], groups)


def _dtype(node: ir.Node, operand: int) -> str:
    if is_int8(node):
        return "int8"
    value = node.inputs[operand]
    if value is None:
        return "fp32"
    producer = value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        stored = producer.inputs[0]
        if stored is not None and stored.dtype in _FLOAT8:
            return "fp8"
    return "fp16" if value.dtype in _HALF else "fp32"
