"""Products of which only one operand comes quantized: no integer kernel multiplies a code by a number."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.quantizers import Weight, weights
from graphs.reading.weighted import is_weighted
from graphs.writing.edits import GraphEdits, drop_if_unread
from graphs.writing.lazy_tensors import lazily
from optimizer.prequantized.edges import listed
from optimizer.prequantized.fusable import is_integer_product
from optimizer.quantization.rules.commuting import moves_values


def float_weights(model: ir.Model) -> list[str]:
    """Weights of such convolutions as the numbers their codes stand for, in place; returns notes. Those of matrix
    products stay codes, which are read in a fourth of the time.
    """
    edits, done = GraphEdits(model.graph), list[str]()
    for weight in weights(model.graph):
        readers = [use.node for use in weight.dequantize.outputs[0].uses()]
        if (
            readers
            and all(is_weighted(node) and node.op_type != "MatMul" for node in readers)
            and not any(is_integer_product(node) for node in readers)
        ):
            as_numbers(edits, weight)
            done += [str(node.name) for node in readers]
    if not done:
        return []
    return [f"{len(done)} products whose data the source does not quantize compute in float: {listed(done)}"]


def float_constants(model: ir.Model) -> list[str]:
    """Constants that no product and no look-up reads as the numbers their codes stand for, in place; returns notes: a
    factor or an addend of a float operator has no integer kernel.
    """
    edits, done = GraphEdits(model.graph), list[str]()
    for weight in weights(model.graph):
        output = weight.dequantize.outputs[0]
        readers = [use.node for use in output.uses()]
        if readers and not output.is_graph_output() and not any(_stored(node) for node in readers):
            as_numbers(edits, weight)
            done.append(str(output.name))
    return [f"{len(done)} constants of float operators as numbers: {listed(done)}"] if done else []


def _stored(node: ir.Node) -> bool:
    return is_weighted(node) or moves_values(node)


def as_numbers(edits: GraphEdits, weight: Weight) -> None:
    """The constant that the codes stand for, in place of its DQ."""
    node, output = weight.dequantize, weight.dequantize.outputs[0]
    numbers = lazily(lambda _: weight.numbers(), weight.codes, f"{output.name}/numbers", dtype=ir.DataType.FLOAT)
    source = list(node.inputs)
    output.replace_all_uses_with(edits.initializer(numbers))
    assert node.graph is not None
    node.graph.remove(node, safe=True)
    for value in source:
        if value is not None:
            drop_if_unread(edits.graph, value)
