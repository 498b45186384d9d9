"""Recurrent operators that count samples first (``layout = 1``, since opset 14), brought to the layout runtimes have.

Neither ONNX Runtime nor TensorRT runs them; steps first and transposed on both sides they say the same.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.constants import input_at
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, dtype_of

_SAMPLES_OF_INPUT = {0: (1, 0, 2), 5: (1, 0, 2), 6: (1, 0, 2)}
"""Which inputs have samples first, and how they become [steps, samples, size] and [directions, samples, hidden]."""
_SAMPLES_OF_OUTPUT = {0: (2, 0, 1, 3), 1: (1, 0, 2), 2: (1, 0, 2)}
"""And how [steps, directions, samples, hidden] and [directions, samples, hidden] get samples first again."""


def count_steps_first(model: ir.Model) -> list[str]:
    """Rewrite every LSTM, GRU and RNN with ``layout = 1``, in place; returns notes."""
    edits = GraphEdits(model.graph)
    found = [
        node
        for graph in model.graphs()
        for node in graph
        if node.op_type in ("LSTM", "GRU", "RNN") and is_standard(node) and node.attributes.get_int("layout", 0) == 1
    ]
    for node in found:
        own = edits.within(node.graph)
        node.attributes.pop("layout")
        for index, order in _SAMPLES_OF_INPUT.items():
            value = input_at(node, index)
            if value is not None:
                turned = _transposed(own, value, order, f"{node.name}_{index}_by_step")
                own.graph.insert_before(node, turned)
                node.replace_input_with(index, turned.outputs[0])
        for output, back in zip(node.outputs, _SAMPLES_OF_OUTPUT.values(), strict=False):
            if output.name:
                own.graph.insert_after(node, _turned_back(own, output, back))
    return [f"{node.op_type} {node.name!r} counts steps first: no runtime has it by samples" for node in found]


def _transposed(edits: GraphEdits, value: ir.Value, order: tuple[int, ...], name: str) -> ir.Node:
    shape = None if value.shape is None else ir.Shape([value.shape[axis] for axis in order])
    node = edits.node("Transpose", [value], name, name, dtype_of(value), shape)
    node.attributes["perm"] = ir.AttrInt64s("perm", order)
    return node


def _turned_back(edits: GraphEdits, value: ir.Value, order: tuple[int, ...]) -> ir.Node:
    """A node whose result takes the place and the name of ``value``."""
    name, shape, dtype = str(value.name), value.shape, dtype_of(value)
    value.name, value.shape = edits.names.value(f"{name}_by_step"), None
    edits.names.release(name)
    node = edits.node("Transpose", [None], f"{name}_by_sample", name, dtype, shape)
    node.attributes["perm"] = ir.AttrInt64s("perm", order)
    value.replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
    node.replace_input_with(0, value)
    return node
