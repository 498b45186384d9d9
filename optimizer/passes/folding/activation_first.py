"""Bring an activation from behind a Slice to the convolution before it, where runtimes fuse the two.

Causal convolutions pad on both sides and cut what looks ahead off ("chomp"); the ReLU follows. Moved before the cut it
is part of the convolution's kernel in TensorRT and ONNX Runtime, and what is quantized has no negative half.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import is_standard
from optimizer.passes.base import PassResult

_FUSED = frozenset({"Relu", "Clip", "LeakyRelu"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
MOST_CUT = 0.5
"""Part of the convolution's result that may be cut off: what is computed in vain beyond is not worth a fusion.
Chosen."""


class ActivationFirst:
    """Moves where nothing else reads what lies between, one activation at a time."""

    name = "activation before slice"

    def apply(self, model: ir.Model) -> PassResult:
        moved = 0
        for graph in list(model.graphs()):
            for node in list(graph):
                moved += node.op_type in _FUSED and is_standard(node) and _move(graph, node)
        return PassResult(moved, (f"{moved} activations moved before a Slice, to their convolution",) if moved else ())


def _move(graph: ir.Graph, activation: ir.Node) -> bool:
    cut, output = activation.inputs[0], activation.outputs[0]
    slices = _slices(graph, cut)
    bounds = [value for value in activation.inputs[1:] if value is not None]
    if cut is None or not slices or output.is_graph_output() or any(value.producer() is not None for value in bounds):
        return False
    first = slices[-1]
    result = first.inputs[0]
    producer = result.producer() if result is not None else None
    if result is None or producer is None or producer.graph is not graph or not _only_read_once(result):
        return False
    if producer.op_type not in _CONVOLUTIONS or not is_standard(producer) or _part_kept(result, cut) < 1 - MOST_CUT:
        return False
    output.replace_all_uses_with(cut)
    graph.remove(activation)
    activation.replace_input_with(0, result)
    first.replace_input_with(0, output)
    graph.insert_before(first, activation)
    output.shape = result.shape
    return True


def _slices(graph: ir.Graph, value: ir.Value | None) -> list[ir.Node]:
    """The Slices before ``value`` that nothing else reads, the last one first."""
    found: list[ir.Node] = []
    while value is not None and _only_read_once(value):
        producer = value.producer()
        if producer is None or producer.op_type != "Slice" or not is_standard(producer) or producer.graph is not graph:
            break
        found.append(producer)
        value = producer.inputs[0]
    return found


def _only_read_once(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _part_kept(before: ir.Value, after: ir.Value) -> float:
    """As far as both sizes are known; axes of unknown size count as kept."""
    kept = 1.0
    for old, new in zip(before.shape or (), after.shape or (), strict=False):
        if isinstance(old, int) and isinstance(new, int) and old > 0:
            kept *= new / old
    return kept
