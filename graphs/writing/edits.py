"""Putting nodes and constants into a graph, under names that are free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.writing.free_names import FreeNames


def values_by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Graph inputs, initializers and node outputs of the main graph."""
    found = {str(value.name): value for value in graph.inputs}
    found.update((str(name), value) for name, value in graph.initializers.items())
    found.update((str(output.name), output) for node in graph for output in node.outputs)
    return found


class GraphEdits:
    """Puts constants and nodes into ``graph``, each under the name asked for or, where that is taken, one like it.

    Make one for a series of edits: it looks through the graph for taken names once.
    """

    def __init__(self, graph: ir.Graph, names: FreeNames | None = None) -> None:
        self.graph = graph
        self.names = names or FreeNames(graph)

    def uses_domain(self, domain: str, version: int = 1) -> None:
        """Have the graph import operators of ``domain``."""
        self.graph.opset_imports.setdefault(domain, version)

    def within(self, graph: ir.Graph | ir.Function | None) -> GraphEdits:
        """The same for a subgraph: its names must differ from the outer ones."""
        assert isinstance(graph, ir.Graph)
        return self if graph is self.graph else GraphEdits(graph, self.names)

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        """Register ``tensor`` under its own name, or one like it, and return its value."""
        tensor.name = self.names.value(str(tensor.name))
        value = ir.Value(
            name=tensor.name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.graph.register_initializer(value)
        return value

    def constant(self, name: str, array: NDArray[Any] | np.generic, dtype: ir.DataType | None = None) -> ir.Value:
        """An initializer called like ``name`` holding ``array`` (cast to ``dtype``)."""
        values = np.asarray(array)
        return self.initializer(ir.Tensor(values.astype(dtype.numpy()) if dtype is not None else values, name=name))

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        output: str,
        dtype: ir.DataType,
        shape: ir.Shape | None,
        attributes: Mapping[str, int] | None = None,
    ) -> ir.Node:
        """A node, not yet in the graph, called like ``name`` with one output called like ``output``."""
        made = ir.node(op_type, inputs, dict(attributes or {}), name=self.names.node(name))
        self.describe(made.outputs[0], output, dtype, shape)
        return made

    def describe(self, value: ir.Value, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> None:
        """Give a fresh node output a name like ``name`` and its type."""
        value.name, value.type, value.shape = self.names.value(name), ir.TensorType(dtype), shape


def dtype_of(value: ir.Value) -> ir.DataType:
    """The element type; float32 where inference found none."""
    return value.dtype or ir.DataType.FLOAT


def after(graph: ir.Graph, value: ir.Value, nodes: Iterable[ir.Node]) -> None:
    """Insert ``nodes`` right behind the producer of ``value``, or at the front for a graph input."""
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, nodes)
    else:
        graph.insert_before(graph[0], nodes)


def drop_if_unread(graph: ir.Graph, value: ir.Value) -> None:
    """Forget a constant nobody reads any more, initializer or Constant node, so that its memory can go."""
    if value.uses() or value.is_graph_output():
        return
    producer = value.producer()
    if value.name in graph.initializers:
        del graph.initializers[str(value.name)]
    elif producer is not None and producer.op_type == "Constant" and producer.graph is not None:
        producer.graph.remove(producer, safe=True)


def set_constant_input(edits: GraphEdits, node: ir.Node, index: int, array: NDArray[Any], base: str) -> None:
    """Make input ``index`` of ``node`` the constant ``array``; other users of the old constant keep theirs.

    It takes the name of a constant that goes, else one like it, or like ``base`` where there was none.
    """
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    old, owner = node.inputs[index], edits.within(node.graph)
    node.replace_input_with(index, None)
    if old is not None and old.is_initializer() and not old.uses() and not old.is_graph_output():
        assert old.graph is not None and old.name is not None
        old.graph.initializers.pop(old.name)
        edits.names.release(old.name)
    name = base if old is None or old.name is None else old.name
    node.replace_input_with(index, owner.constant(name, np.asarray(array, order="C")))


def bypass(node: ir.Node, value: ir.Value) -> None:
    """Replace output 0 of ``node`` by ``value`` everywhere and remove the node. A graph output keeps its name."""
    output = node.outputs[0]
    graph = node.graph
    assert graph is not None
    if output.is_graph_output():
        name, output.name = output.name, None
        value.name = name
    if value.shape is None:
        value.shape = output.shape
    if value.type is None:
        value.type = output.type
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def drop_unused_initializers(model: ir.Model) -> None:
    """Remove weights nobody reads, such as those of branches that were folded away."""
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                graph.initializers.pop(name)
