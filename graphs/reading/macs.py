"""What every node costs: multiply-accumulates, weight bytes, activation bytes; and how much of it runs in INT8.

MAC counts follow the operator definitions, with no credit for zeros or padding: output elements x reduction length.
FLOPs are twice the MACs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from graphs.reading.constants import input_at
from graphs.reading.operators import MOVING, is_standard
from graphs.reading.shapes import static_shape, with_shapes
from graphs.reading.weighted import INTEGER_PRODUCTS, RECURRENT_GATES, operands

Shapes = Mapping[str, Sequence[int]]

_TRANSPARENT = MOVING | {"Cast"}
_INT8 = {ir.DataType.INT8, ir.DataType.UINT8}


@dataclass(frozen=True)
class NodeCost:
    """Cost of one execution of a node at the given input shapes.

    ``weight_bytes`` as stored (INT8 weights behind DequantizeLinear count one byte each); ``activation_bytes`` read and
    written; ``known`` is False where a shape depends on the data, and the numbers are then a lower bound.
    """

    op_type: str
    macs: int
    weight_bytes: int
    activation_bytes: int
    known: bool = True


def count_macs(model: ir.Model, shapes: Shapes) -> dict[str, NodeCost]:
    """Cost of every node by name, in graph order. ``shapes`` maps input names to concrete shapes.

    Of the branches of an If, only the costlier one is counted. The body of a Loop or Scan counts once. What fixed
    shapes make constant costs nothing.
    """
    found = graph_costs(with_shapes(model, shapes).graph)
    main = {node.name for node in model.graph}
    counted = [node for node in model.graph.all_nodes() if node.name in main or node.name in found]
    return {str(node.name): found.get(str(node.name), NodeCost(node.op_type, 0, 0, 0)) for node in counted}


def total_macs(costs: Mapping[str, NodeCost]) -> int:
    return sum(cost.macs for cost in costs.values())


def int8_mac_share(model: ir.Model, shapes: Shapes) -> float:
    """Share of all MACs whose two operands both arrive dequantized from 8-bit integers; 0.0 for a model without MACs.

    An operand is followed back through operators that move values without computing on them. LSTM, GRU and RNN count
    as float.
    """
    concrete = with_shapes(model, shapes)
    return int8_share(concrete, {name: cost.macs for name, cost in graph_costs(concrete.graph).items()})


def int8_share(model: ir.Model, macs: Mapping[str, int]) -> float:
    """The same where the MACs of its nodes are known, by name; those of others count as none."""
    total = sum(macs.values())
    known = (node for node in model.graph.all_nodes() if node.name in macs)
    int8 = sum(macs[str(node.name)] for node in known if is_int8(node))
    return int8 / total if total else 0.0


def is_int8(node: ir.Node) -> bool:
    """Whether a product's two operands are both 8-bit integers, directly or behind DequantizeLinear."""
    multiplied = operands(node)
    if multiplied is None or node.op_type in INTEGER_PRODUCTS:
        return multiplied is not None
    return all(_arrives_dequantized(node.inputs[index]) for index in multiplied)


def _arrives_dequantized(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    if producer is None:
        return False
    if producer.op_type == "DequantizeLinear":
        return _is_8_bit(producer)
    if producer.op_type == "Concat":
        return all(_arrives_dequantized(source) for source in producer.inputs)
    return producer.op_type in _TRANSPARENT and _arrives_dequantized(producer.inputs[0])


def _is_8_bit(dequantize: ir.Node) -> bool:
    """By the quantized input's type; by the zero point's, which must equal it, where inference did not reach it."""
    for value in (dequantize.inputs[0], input_at(dequantize, 2)):
        if value is not None and value.dtype is not None:
            return value.dtype in _INT8
    source = dequantize.inputs[0]
    quantize = source.producer() if source is not None else None
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return False
    if len(quantize.inputs) > 2 and quantize.inputs[2] is not None:
        return quantize.inputs[2].dtype in _INT8
    return quantize.attributes.get_int("output_dtype", 0) in {0, *(dtype.value for dtype in _INT8)}


def graph_costs(graph: ir.Graph) -> dict[str, NodeCost]:
    """Cost of every node, bodies of the costlier branches included, of a graph that ``with_shapes`` made concrete."""
    costs: dict[str, NodeCost] = {}
    for node in graph:
        costs[str(node.name)] = _cost(node)
        bodies = [graph_costs(a.as_graph()) for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
        if node.op_type == "If":
            bodies = [max(bodies, key=total_macs)]
        for body in bodies:
            costs.update(body)
    return costs


def _cost(node: ir.Node) -> NodeCost:
    macs = _macs(node)
    weights, activations, known = 0, 0, macs is not None
    for value in (*node.inputs, *node.outputs):
        if value is None or not value.name:
            continue
        stored = _stored_weight(value)
        size = _bytes(stored if stored is not None else value)
        known = known and size is not None
        if stored is not None:
            weights += size or 0
        else:
            activations += size or 0
    return NodeCost(node.op_type, macs or 0, weights, activations, known)


def _stored_weight(value: ir.Value) -> ir.Value | None:
    """The initializer behind a value, seen through Q/DQ and layout changes; None for an activation."""
    if value.is_initializer():
        return value
    producer = value.producer()
    if producer is None:
        return None
    if producer.op_type == "Constant":
        return value
    if producer.op_type in ("DequantizeLinear", "Cast", "Transpose", "Reshape") and producer.inputs[0] is not None:
        return _stored_weight(producer.inputs[0])
    if producer.op_type == "QuantizeLinear" and producer.inputs[0] is not None:
        return value if _stored_weight(producer.inputs[0]) is not None else None
    return None


def _bytes(value: ir.Value) -> int | None:
    shape = static_shape(value)
    if shape is None:
        return None
    dtype = value.dtype if value.dtype is not None else ir.DataType.FLOAT
    return math.ceil(math.prod(shape) * dtype.bitwidth / 8) if dtype != ir.DataType.STRING else 0


def _macs(node: ir.Node) -> int | None:
    """MACs of one execution; 0 for operators that are no products, None where a shape is unknown."""
    if not is_standard(node):
        return 0
    if node.op_type in RECURRENT_GATES:
        return _recurrent_macs(node)
    if node.op_type == "Einsum":
        return _einsum_macs(node)
    multiplied = operands(node)
    if multiplied is None:
        return 0
    values = (*(node.inputs[index] for index in multiplied), node.outputs[0])
    first, other, output = map(static_shape, values)
    if first is None or other is None or output is None:
        return None
    if "Conv" in node.op_type:  # weight [C out, C in / group, ...]; for ConvTranspose [C in, C out / group, ...]
        elements = math.prod(first if node.op_type == "ConvTranspose" else output)
        return elements * math.prod(other[1:])
    if node.op_type == "Gemm":
        reduction = first[0] if node.attributes.get_int("transA", 0) else first[1]
        return math.prod(output) * reduction
    return math.prod(output) * first[-1]


def _einsum_macs(node: ir.Node) -> int | None:
    """The sizes of all labels, once each: every term of the sum. 0 for one operand, which multiplies nothing."""
    shapes = [static_shape(value) for value in node.inputs]
    if len(shapes) < 2:
        return 0
    terms = node.attributes.get_string("equation", "").replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=False):
        if shape is None:
            return None
        head, dots, tail = term.partition("...")
        spread = [f"...{i}" for i in range(len(shape) - len(head) - len(tail), 0, -1)] if dots else []
        for label, size in zip([*head, *spread, *tail], shape, strict=False):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values())


def _recurrent_macs(node: ir.Node) -> int | None:
    """Input and recurrent products of every gate: steps x batch x directions x gates x hidden x (input + hidden)."""
    data, weight = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if data is None or weight is None:
        return None
    directions, gates_hidden, inputs = weight
    return data[0] * data[1] * directions * gates_hidden * (inputs + gates_hidden // RECURRENT_GATES[node.op_type])
