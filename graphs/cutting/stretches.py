"""A graph in stretches between tensors that are read, each a graph of its own that runs on what it is given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from graphs.cutting.bisection import can_be_read, reads


@dataclass(frozen=True)
class Stretch:
    """What makes ``result`` of ``inputs``; ``nodes`` in graph order; ``inside`` are results within that can be read."""

    result: ir.Value
    inputs: tuple[ir.Value, ...]
    nodes: tuple[ir.Node, ...]
    inside: tuple[ir.Value, ...]

    def model(self, whole: ir.Model) -> ir.Model | None:
        """The stretch as a graph of its own, weights shared; None where an input is no tensor."""
        if not all(isinstance(value.type, ir.TensorType) for value in self.inputs):
            return None
        return ir.Model(
            ir.convenience.extract(whole.graph, list(self.inputs), [self.result]),
            ir_version=whole.ir_version,
            functions=list(whole.functions.values()),
        )


def stretch(graph: ir.Graph, result: ir.Value, stops: Collection[ir.Value]) -> Stretch:
    """From ``stops`` and the inputs of ``graph`` to ``result``."""
    data = set(graph.inputs) - set(graph.initializers.values())
    for node in graph:
        if not reads(node).isdisjoint(data):
            data.update(node.outputs)
    inputs, found, todo = dict[ir.Value, None](), set[ir.Node](), [result]
    while todo:
        made = todo.pop().producer()
        if made is None or made in found:
            continue
        found.add(made)
        for value in reads(made) & data:
            if value in stops or value.is_graph_input():
                inputs[value] = None
            else:
                todo.append(value)
    nodes = tuple(node for node in graph if node in found and not reads(node).isdisjoint(data))
    inside = [v for node in nodes for v in node.outputs if v is not result and v not in stops and can_be_read(v)]
    ordered = tuple(sorted(inputs, key=lambda value: str(value.name)))
    return Stretch(result, ordered, nodes, tuple(inside))
