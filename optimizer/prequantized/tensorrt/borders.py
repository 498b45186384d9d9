"""Codes as inputs and outputs of a model, which integer-only exports have: TensorRT dequantizes no input of its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.reading.quantizers import DQ, EIGHT_BITS, Q, parameters
from graphs.writing.edits import GraphEdits

_FLOAT = ir.DataType.FLOAT


def numbers_at_borders(model: ir.Model) -> list[str]:
    """Write the DQ of an input, and the Q of an output, as arithmetic, in place; returns notes.

    Behind an input that is read by integer kernels a pair of the same scale and zero point follows, which rounds
    nothing: those kernels keep their operand.
    """
    edits = GraphEdits(model.graph)
    inputs = [node for node in list(model.graph) if _reads_input(node) and _input(edits, node)]
    outputs = [node for node in list(model.graph) if _gives_output(node) and _output(edits, node)]
    return [
        *([f"{len(inputs)} inputs of codes are made numbers by arithmetic, number for number"] if inputs else []),
        *([f"{len(outputs)} outputs of codes are rounded by arithmetic, as their Q does"] if outputs else []),
    ]


def _reads_input(node: ir.Node) -> bool:
    return node.op_type == DQ and is_standard(node) and node.inputs[0] is not None and node.inputs[0].is_graph_input()


def _gives_output(node: ir.Node) -> bool:
    return node.op_type == Q and is_standard(node) and node.outputs[0].is_graph_output()


def _input(edits: GraphEdits, node: ir.Node) -> bool:
    """codes -> (codes - zero) * scale -> Q -> DQ."""
    found, codes = parameters(node), node.inputs[0]
    if found is None or found[0].size != 1 or codes is None:
        return False
    name, shape = str(codes.name), codes.shape
    scale, zero = (float(array.item()) for array in found)
    wide = edits.node("Cast", [codes], f"{name}/wide", f"{name}/wide", _FLOAT, shape, {"to": _FLOAT.value})
    offset = edits.constant(f"{name}/offset", np.float32(zero))
    steps = edits.node("Sub", [wide.outputs[0], offset], f"{name}/steps", f"{name}/steps", _FLOAT, shape)
    step = edits.constant(f"{name}/step", np.float32(scale))
    numbers = edits.node("Mul", [steps.outputs[0], step], f"{name}/numbers", f"{name}/numbers", _FLOAT, shape)
    again = edits.node(
        Q, [numbers.outputs[0], *node.inputs[1:]], f"{name}/Q", f"{name}/codes", codes.dtype or _FLOAT, shape
    )
    edits.graph.insert_before(node, [wide, steps, numbers, again])
    node.replace_input_with(0, again.outputs[0])
    return True


def _output(edits: GraphEdits, node: ir.Node) -> bool:
    """x -> round(x / scale) + zero, within the codes -> Cast. The Q's other readers keep it."""
    found, value, codes = parameters(node), node.inputs[0], node.outputs[0]
    if found is None or found[0].size != 1 or value is None:
        return False
    scale, zero = found
    kind = ir.DataType.from_numpy(zero.dtype)
    low, high = EIGHT_BITS[kind]
    name, shape, graph = str(codes.name), codes.shape, edits.graph
    last, made = value, list[ir.Node]()

    def then(op_type: str, *operands: float) -> None:
        nonlocal last
        given = [edits.constant(f"{name}/{op_type}", np.float32(operand)) for operand in operands]
        made.append(edits.node(op_type, [last, *given], f"{name}/{op_type}", f"{name}/{op_type}", _FLOAT, shape))
        last = made[-1].outputs[0]

    then("Div", scale.item())
    then("Round")
    then("Add", float(zero.item()))
    then("Clip", low, high)
    cast = edits.node("Cast", [last], f"{name}/cast", f"{name}/cast", kind, shape, {"to": kind.value})
    graph.insert_before(node, [*made, cast])
    result = cast.outputs[0]
    codes.name, result.name = edits.names.value(f"{name}/own"), name
    for index, output in enumerate(graph.outputs):
        if output is codes:
            graph.outputs[index] = result
    if not codes.uses():
        graph.remove(node, safe=True)
    return True
