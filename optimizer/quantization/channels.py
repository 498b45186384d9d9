"""Weighted ops seen along their input channels: rescaling those channels, and moving constants into the bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor, input_at
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp
from graphs.writing.edits import GraphEdits, drop_if_unread
from graphs.writing.lazy_tensors import lazily
from optimizer.quantization.codes.weights import as_float32, per_channel

Edit = Callable[[Floats], Floats]


def unpadded(op: WeightedOp) -> bool:
    """Whether a constant added to the data reaches every output in full: no border where part of the kernel is cut."""
    if op.node.op_type in ("Gemm", "MatMul"):
        return True
    if op.node.op_type != "Conv":
        return False
    auto = op.node.attributes.get("auto_pad")
    pads = op.node.attributes.get("pads")
    explicit = auto is None or auto.as_string() in ("NOTSET", "VALID")
    return explicit and (pads is None or not any(pads.as_ints()))


def edit_weight(edits: GraphEdits, op: WeightedOp, edit: Edit, suffix: str) -> ir.Value:
    """Give ``op`` its own weight ``edit(old)``, computed when it is read; other readers keep the old one."""
    old = op.weight
    value = edits.initializer(
        lazily(lambda array: edit(array.astype(np.float32, copy=False)), op.tensor, f"{old.name}/{suffix}")
    )
    op.node.replace_input_with(1, value)
    drop_if_unread(edits.graph, old)
    return value


def scale_inputs(edits: GraphEdits, op: WeightedOp, factor: Floats) -> ir.Value:
    """Multiply the weight's input channels by ``factor`` [channels]; returns the new weight."""
    axis = op.input_axis
    assert axis is not None
    return edit_weight(edits, op, lambda old: old * per_channel(old, axis, factor), "rescaled")


def scale_outputs(edits: GraphEdits, op: WeightedOp, factor: Floats) -> None:
    """Multiply the op's output channels, weight and bias, by ``factor`` [channels]."""
    edit_weight(edits, op, lambda old: old * per_channel(old, op.axis, factor), "scaled")
    bias = op.bias
    if bias is not None:
        _replace_bias(edits, op, as_float32(bias) * factor)


def can_scale_outputs(op: WeightedOp) -> bool:
    """Whether ``scale_outputs`` reaches all the op yields: a bias, where there is one, must be a constant whose
    last axis counts output channels (or is of length one).
    """
    if len(op.node.inputs) < 3 or op.node.inputs[2] is None:
        return True
    bias = op.bias
    return bias is not None and tuple(bias.shape.numpy())[-1:] in ((), (1,), (op.channels,))


def can_add_bias(op: WeightedOp) -> bool:
    """Whether ``add_to_bias`` applies: no bias yet, or a constant one with a value per output channel."""
    node = op.node
    if node.op_type == "MatMul":
        return True
    if node.op_type == "Gemm" and any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return False
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    bias = op.bias
    return bias is not None and tuple(bias.shape.numpy()) == (op.channels,)


def add_to_bias(edits: GraphEdits, op: WeightedOp, delta: Floats) -> None:
    """Add ``delta`` [output channels] to what ``op`` yields: into its bias, or the Add behind a MatMul."""
    if op.node.op_type == "MatMul":
        _add_behind(edits, op, delta)
        return
    bias = op.bias
    _replace_bias(edits, op, delta if bias is None else as_float32(bias) + delta)


def _replace_bias(edits: GraphEdits, op: WeightedOp, bias: Floats) -> None:
    node = op.node
    old = input_at(node, 2)
    value = edits.constant(f"{node.name}/bias", bias, op.tensor.dtype)
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, value)
    if old is not None:
        drop_if_unread(edits.graph, old)


def _add_behind(edits: GraphEdits, op: WeightedOp, delta: Floats) -> None:
    output, graph = op.node.outputs[0], edits.graph
    existing = bias_add(output, op.channels)
    if existing is not None:
        add, index, tensor = existing
        old = add.inputs[index]
        add.replace_input_with(index, edits.constant(f"{add.name}/bias", as_float32(tensor) + delta, tensor.dtype))
        if old is not None:
            drop_if_unread(graph, old)
        return
    dtype = output.dtype or op.tensor.dtype
    value = edits.constant(f"{op.node.name}/bias", delta, dtype)
    add = edits.node("Add", [output, value], f"{op.node.name}/add_bias", f"{output.name}/biased", dtype, output.shape)
    graph.insert_after(op.node, add)
    for use in tuple(output.uses()):
        if use.node is not add:
            use.node.replace_input_with(use.idx, add.outputs[0])
    for index, result in enumerate(graph.outputs):
        if result is output:
            graph.outputs[index] = add.outputs[0]
    if add.outputs[0].is_graph_output():
        kept, output.name = str(output.name), edits.names.value(f"{output.name}/unbiased")
        add.outputs[0].name = kept


def bias_add(output: ir.Value, channels: int) -> tuple[ir.Node, int, ir.TensorProtocol] | None:
    """The Add of a constant [channels] that alone reads ``output``, with the constant's place and tensor."""
    uses = tuple(output.uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add" or output.is_graph_output():
        return None
    index = 1 - uses[0].idx
    tensor = constant_tensor(uses[0].node.inputs[index])
    if tensor is None or tuple(tensor.shape.numpy()) != (channels,):
        return None
    return uses[0].node, index, tensor


def contraction(op: WeightedOp, weight: Floats) -> Floats:
    """The weight as [input channels, outputs * taps], taps of one output contiguous."""
    axis = op.input_axis
    assert axis is not None
    moved = np.moveaxis(weight, (axis, op.axis), (0, 1))
    return moved.reshape(moved.shape[0], -1)


def contraction_inputs(op: WeightedOp) -> int:
    """How many input channels the op contracts over."""
    axis = op.input_axis
    assert axis is not None
    return int(op.tensor.shape.numpy()[axis])
