"""Evaluate constant nodes of several outputs, which onnxscript's folder leaves: Split of a packed weight and its kind.

Left in the graph, a weight behind such a node is no constant to whatever types or quantizes it; and ONNX Runtime 1.32
crashes on a float16 one (FuseFp16InitializerToFp32NodeTransformer).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from graphs.reading.constants import Array, constant_array, constant_tensor
from graphs.reading.operators import is_standard

KEPT = {"DynamicQuantizeLinear", "Dropout"}
"""Quantization is kept as it is, and what draws random numbers says so only when it runs."""
LARGEST = 1 << 24
"""Elements of the largest operand evaluated (64 MiB in float32); a Split only hands out views, whatever the size.
Chosen."""


def fold_several_outputs(model: ir.Model) -> int:
    """Replace them by initializers, in place; returns how many nodes went."""
    return sum(_fold(node, model) for graph in list(model.graphs()) for node in list(graph))


def _fold(node: ir.Node, model: ir.Model) -> bool:
    if len(node.outputs) < 2 or not is_standard(node) or node.op_type in KEPT or not node.inputs:
        return False
    if any(output.is_graph_output() for output in node.outputs) or not isinstance(node.graph, ir.Graph):
        return False
    if any(
        attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in node.attributes.values()
    ):
        return False
    tensors = [constant_tensor(value) for value in node.inputs if value is not None]
    if any(tensor is None or (node.op_type != "Split" and tensor.size > LARGEST) for tensor in tensors):
        return False
    arrays = _evaluate(node, model.opset_imports.get("", 21))
    if arrays is None:
        return False
    for output, array in zip(list(node.outputs), arrays, strict=False):
        if output.uses():
            _stand_in(node.graph, output, array)
    node.graph.remove(node, safe=True)
    return True


def _evaluate(node: ir.Node, opset: int) -> Sequence[Array] | None:
    operands = [constant_array(value) for value in node.inputs]
    if node.op_type == "Split":
        return _split(node, operands)
    names = [value.name or "" if value is not None else "" for value in node.inputs]
    proto: onnx.NodeProto = ir.to_proto(node)
    try:
        evaluator = ReferenceEvaluator(proto, opsets={"": opset})
        with np.errstate(all="ignore"):
            found = evaluator.run(None, {name: array for name, array in zip(names, operands, strict=True) if name})
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # onnx's evaluator does not know every operator and type
    arrays = [array for array in found if isinstance(array, np.ndarray)]
    return arrays if len(arrays) == len(node.outputs) else None


def _split(node: ir.Node, operands: Sequence[Array | None]) -> Sequence[Array] | None:
    data = operands[0]
    assert data is not None
    axis = node.attributes.get_int("axis", 0)
    if len(operands) > 1 and operands[1] is not None:
        sizes = operands[1].tolist()
    else:
        size = -(-data.shape[axis] // len(node.outputs))  # the last part is smaller where they do not divide
        sizes = [min(size, data.shape[axis] - i * size) for i in range(len(node.outputs))]
    if sum(sizes) != data.shape[axis] or len(sizes) != len(node.outputs) or min(sizes, default=0) < 0:
        return None
    return np.split(data, np.cumsum(sizes)[:-1], axis)


def _stand_in(graph: ir.Graph, output: ir.Value, array: Array) -> None:
    """An initializer in place of ``output``, under its name."""
    name, output.name = str(output.name), None
    dtype = output.dtype if output.dtype is not None else ir.DataType.from_numpy(array.dtype)
    tensor = ir.Tensor(np.asarray(array, order="C"), dtype=dtype, name=name)
    value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    output.replace_all_uses_with(value)
