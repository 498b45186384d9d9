"""The axes of a graph, joined and fixed as each of its operators has it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from optimizer.sparsity.axes import Axes, rank_of
from optimizer.sparsity.axis_rules import RULES


def joined_axes(model: ir.Model) -> Axes:
    """The axes of ``model``'s main graph, joined as its operators have it."""
    axes = Axes()
    for given in model.graph.inputs:
        axes.fix_all(given, "an input of the model")
    for result in model.graph.outputs:
        axes.fix_all(result, "an output of the model")
    for node in model.graph:
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        ranks = [rank_of(value) for value in (*node.inputs, *node.outputs[:1]) if value is not None]
        if rule is None or None in ranks or any(value.name for value in node.outputs[1:]):
            for value in (*node.inputs, *node.outputs):
                axes.fix_all(value, f"{node.op_type} {node.name}")
        else:
            rule(axes, node)
    for inside in _read_inside(model):
        axes.fix_all(inside, "read in a branch or a loop")
    return axes


def _read_inside(model: ir.Model) -> Iterator[ir.Value]:
    """Values of the main graph that nodes of its subgraphs read."""
    for graph in model.graphs():
        if graph is not model.graph:
            for node in graph:
                yield from (v for v in node.inputs if v is not None and v.graph is model.graph)
