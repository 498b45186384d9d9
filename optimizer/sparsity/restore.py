"""Layers of a pruned graph made dense again: those that cost most of the accuracy for what they gain."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.weighted import output_channels
from graphs.writing.edits import GraphEdits, set_constant_input
from graphs.writing.float_types import cast_tensor
from optimizer.quantization.channels import bias_add


def restored(pruned: ir.Model, dense: ir.Model, names: Collection[str], *, biases: bool = True) -> ir.Model:
    """A copy of ``pruned`` in which the nodes called ``names`` have the weights, and the ``biases``, that they have in
    ``dense``, the graph it was made from.
    """
    copy = pruned.clone()
    edits = GraphEdits(copy.graph)
    before = {str(node.name): node for graph in dense.graphs() for node in graph}
    for node in [node for graph in copy.graphs() for node in graph if node.name in names]:
        original = before[str(node.name)]
        _give(edits, node, 1, original)
        if biases and node.op_type == "MatMul":
            _restore_add(edits, node, original)
        elif biases and len(node.inputs) > 2 and node.inputs[2] is not None:
            _give(edits, node, 2, original)
    return copy


def _give(edits: GraphEdits, node: ir.Node, index: int, original: ir.Node) -> None:
    """The constant that ``original`` has at this place; zeros where it has none there."""
    tensor = constant_tensor(original.inputs[index]) if len(original.inputs) > index else None
    if tensor is not None:
        value = edits.within(node.graph).initializer(cast_tensor(tensor, tensor.dtype, f"{node.name}/dense_{index}"))
        node.replace_input_with(index, value)
        return
    now = constant_tensor(node.inputs[index])
    if now is not None:
        set_constant_input(edits, node, index, np.zeros_like(now.numpy()), f"{node.name}/bias")


def _restore_add(edits: GraphEdits, node: ir.Node, original: ir.Node) -> None:
    """The Add behind a MatMul: its constant as it was, zero where there was no Add."""
    tensor = constant_tensor(node.inputs[1])
    assert tensor is not None
    channels = output_channels(node, tuple(tensor.shape.numpy()))
    now, before = bias_add(node.outputs[0], channels), bias_add(original.outputs[0], channels)
    if now is not None:
        add, index, bias = now
        values = before[2].numpy() if before is not None else np.zeros_like(bias.numpy())
        set_constant_input(edits, add, index, values, f"{add.name}/bias")
