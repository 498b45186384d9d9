"""One spelling of Q/DQ, number for number: weights are codes, biases float, and a Q is read by its DQs alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, along, constant_array, constant_tensor
from graphs.reading.operators import MOVING, is_standard
from graphs.reading.quantizers import DQ, EIGHT_BITS, Q, parameters, weight_of
from graphs.writing.edits import GraphEdits, drop_if_unread, drop_unused_initializers
from graphs.writing.lazy_tensors import lazily, small_at_once
from optimizer.passes.base import PassResult


class SpellOutCodes:
    """Makes the changes that hold for every runtime."""

    name = "spell Q/DQ alike"

    def apply(self, model: ir.Model) -> PassResult:
        edits = GraphEdits(model.graph)
        weights = sum(_codes_of_weight(edits, node) for node in list(model.graph))
        biases = sum(_float_bias(edits, node) for node in list(model.graph))
        weights += sum(_transposed_codes(edits, node) for node in list(model.graph))
        moved = _separate(edits)
        zeros = sum(_explicit_zero(edits, node) for node in list(model.graph)) if weights or biases or moved else 0
        if weights or biases or moved:
            drop_unused_initializers(model)
        notes = (
            *((f"{weights} weights stored as the int8 codes that their Q gives",) if weights else ()),
            *((f"{biases} int32 biases written as float, number for number",) if biases else ()),
            *((f"{moved} operators between Q and DQ computed on numbers in place of codes",) if moved else ()),
        )
        return PassResult(weights + biases + moved + zeros, notes)


def _codes_of_weight(edits: GraphEdits, quantize: ir.Node) -> bool:
    """A constant and its Q become the codes: rounded as the standard says, to the nearest, ties to even."""
    if quantize.op_type != Q or not is_standard(quantize) or quantize.attributes.get_int("block_size", 0) != 0:
        return False
    tensor, found = constant_tensor(quantize.inputs[0]), parameters(quantize)
    if (
        tensor is None
        or found is None
        or tensor.dtype is not ir.DataType.FLOAT
        or quantize.outputs[0].is_graph_output()
    ):
        return False
    scale, zero = found
    rank, axis = len(tensor.shape), quantize.attributes.get_int("axis", 1)
    kind = ir.DataType.from_numpy(zero.dtype)
    low, high = EIGHT_BITS[kind]

    def rounded(numbers: Array) -> Array:
        steps = np.rint(numbers / along(scale, axis, rank)) + along(zero, axis, rank).astype(np.float32)
        return np.asarray(np.clip(steps, low, high))

    output = quantize.outputs[0]
    name = str(output.name)
    codes = small_at_once(rounded, tensor, name, kind)
    output.name = None
    edits.names.release(name)
    output.replace_all_uses_with(edits.initializer(codes))
    graph, weight = quantize.graph, quantize.inputs[0]
    assert isinstance(graph, ir.Graph) and weight is not None
    graph.remove(quantize, safe=True)
    drop_if_unread(edits.graph, weight)
    return True


def _transposed_codes(edits: GraphEdits, transpose: ir.Node) -> bool:
    """A weight that is transposed behind its DQ, as PyTorch writes a linear layer, is stored transposed."""
    dequantize = transpose.inputs[0].producer() if transpose.op_type == "Transpose" and transpose.inputs[0] else None
    found = weight_of(dequantize) if dequantize is not None else None
    if found is None or found.blocked or transpose.outputs[0].is_graph_output() or transpose.graph is not edits.graph:
        return False
    rank = len(found.codes.shape)
    permutation = list(transpose.attributes.get_ints("perm", tuple(reversed(range(rank)))))
    source, output, codes = found.dequantize.inputs[0], transpose.outputs[0], found.codes
    assert source is not None
    name = f"{source.name}/transposed"
    shape = [codes.shape.numpy()[axis] for axis in permutation]
    moved = lazily(lambda array: array.transpose(permutation), codes, name, shape=shape)
    attributes = {"axis": permutation.index(found.axis)} if found.axis is not None else {}
    inputs = [edits.initializer(moved), *found.dequantize.inputs[1:]]
    made = edits.node(DQ, inputs, f"{transpose.name}/DQ", f"{output.name}/stored", ir.DataType.FLOAT, output.shape)
    made.attributes.update({**found.dequantize.attributes, **{k: ir.AttrInt64(k, v) for k, v in attributes.items()}})
    edits.graph.insert_before(transpose, made)
    output.replace_all_uses_with(made.outputs[0])
    edits.graph.remove(transpose, safe=True)
    if not found.dequantize.outputs[0].uses():
        edits.graph.remove(found.dequantize, safe=True)
        drop_if_unread(edits.graph, source)
    return True


def _float_bias(edits: GraphEdits, dequantize: ir.Node) -> bool:
    """Constant int32 codes become the float numbers they stand for."""
    if dequantize.op_type != DQ or not is_standard(dequantize) or dequantize.outputs[0].is_graph_output():
        return False
    codes, scale = constant_tensor(dequantize.inputs[0]), constant_array(dequantize.inputs[1])
    if codes is None or codes.dtype is not ir.DataType.INT32 or scale is None:
        return False
    rank, axis = len(codes.shape), dequantize.attributes.get_int("axis", 1)
    numbers = (codes.numpy() * along(scale.astype(np.float64), axis, rank)).astype(np.float32)
    output, graph = dequantize.outputs[0], dequantize.graph
    assert isinstance(graph, ir.Graph)
    name, output.name = str(output.name), None
    edits.names.release(name)
    output.replace_all_uses_with(edits.constant(name, numbers))
    graph.remove(dequantize, safe=True)
    return True


def _separate(edits: GraphEdits) -> int:
    """What moves codes on moves the numbers instead: its operand is dequantized, its result quantized again."""
    found = 0
    for node in list(edits.graph):
        if node.op_type in MOVING and is_standard(node) and _moves_codes(node):
            _on_numbers(edits, node)
            found += 1
    return found


def _moves_codes(node: ir.Node) -> bool:
    """Whether ``node`` takes codes of a Q, directly, on to DQs: what it is done with then is known on both sides."""
    source = node.inputs[0]
    producer = source.producer() if source is not None else None
    if (
        source is None
        or producer is None
        or producer.op_type != Q
        or len(node.outputs) != 1
        or parameters(producer) is None
    ):
        return False
    output = node.outputs[0]
    return parameters(producer) is not None and _per_tensor(producer) and not output.is_graph_output()


def _per_tensor(node: ir.Node) -> bool:
    scale = constant_tensor(node.inputs[1])
    return scale is not None and scale.size == 1


def _on_numbers(edits: GraphEdits, node: ir.Node) -> None:
    source, output = node.inputs[0], node.outputs[0]
    quantize = source.producer() if source is not None else None
    assert source is not None and quantize is not None and quantize.inputs[0] is not None
    scale_and_zero = quantize.inputs[1:]
    float_type = quantize.inputs[0].dtype or ir.DataType.FLOAT
    found = parameters(quantize)
    assert found is not None
    name, kind = str(output.name), ir.DataType.from_numpy(found[1].dtype)
    wide = edits.node(
        DQ, [source, *scale_and_zero], f"{source.name}/DQ", f"{source.name}/moved", float_type, source.shape
    )
    edits.graph.insert_before(node, wide)
    node.replace_input_with(0, wide.outputs[0])
    output.name, output.type = edits.names.value(f"{name}/float"), ir.TensorType(float_type)
    again = edits.node(Q, [output, *scale_and_zero], f"{name}/Q", f"{name}/codes", kind, output.shape)
    again.attributes.update(quantize.attributes)
    output.replace_all_uses_with(again.outputs[0])
    again.replace_input_with(0, output)
    edits.graph.insert_after(node, again)


def _explicit_zero(edits: GraphEdits, node: ir.Node) -> bool:
    """A Q or DQ without a zero point gets the one it has by the standard."""
    if node.op_type not in (Q, DQ) or (len(node.inputs) > 2 and node.inputs[2] is not None):
        return False
    found = parameters(node)
    if found is None or node.attributes.get_int("block_size", 0) != 0:
        return False
    node.resize_inputs(3)
    node.replace_input_with(2, edits.constant(f"{node.name}/zero", found[1]))
    return True
