"""The end of a graph as a graph of its own: what comes before it is then run once, whatever is tried behind it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


def tail(model: ir.Model, first: ir.Node) -> ir.Model | None:
    """A copy (weights shared) of ``model`` from its node ``first`` on, as far as outputs depend on that.

    Its inputs are the values that cross over, under their names: graph inputs and outputs of earlier nodes. None where
    one of them is no tensor of known element type (a sequence), or no output comes from there.
    """
    nodes = list(model.graph)
    behind = nodes[nodes.index(first) :]
    made = {output for node in behind for output in node.outputs}
    outputs = [output for output in model.graph.outputs if output in made]
    crossing = list(dict.fromkeys(value for node in behind for value in _read(node, model.graph) if value not in made))
    crossing = [value for value in crossing if value.producer() is not None or value.is_graph_input()]
    if not outputs or not all(isinstance(value.type, ir.TensorType) for value in crossing):
        return None
    graph = ir.convenience.extract(model.graph, crossing, outputs)
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        functions=list(model.functions.values()),
    )


def _read(node: ir.Node, graph: ir.Graph) -> Iterator[ir.Value]:
    """Values of ``graph`` that ``node`` reads, inside its branches and loop bodies too."""
    bodies = (body for attribute in node.attributes.values() for body in _bodies(attribute))
    for reader in (node, *(inner for body in bodies for inner in ir.traversal.RecursiveGraphIterator(body))):
        yield from (value for value in reader.inputs if value is not None and value.graph is graph)


def _bodies(attribute: ir.Attr) -> Iterator[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        yield attribute.as_graph()
    elif attribute.type == ir.AttributeType.GRAPHS:
        yield from attribute.as_graphs()
