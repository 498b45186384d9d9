"""Reading and replacing constant operands, shared by the passes that fold arithmetic into weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a constant value (initializer or Constant output); None where a feed may change it."""
    if value is None or value.is_graph_input():
        return None
    return ir.convenience.get_const_tensor(value)


def constant_array(value: ir.Value | None) -> Array | None:
    """The constant behind ``value`` as an array. Reads it: call only where the weight itself is needed."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def free_name(graph: ir.Graph, base: str) -> str:
    """``base``, or ``base_1``, … where another initializer has that name."""
    name, number = base, 0
    while name in graph.initializers:
        number += 1
        name = f"{base}_{number}"
    return name


def new_initializer(graph: ir.Graph, base: str, tensor: ir.TensorProtocol) -> ir.Value:
    """Register ``tensor`` under a free name derived from ``base``."""
    name = free_name(graph, base)
    tensor.name = name
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def set_constant_input(node: ir.Node, index: int, array: Array, base: str) -> None:
    """Make input ``index`` of ``node`` the constant ``array``; other users of the old constant keep theirs."""
    array = np.asarray(array, order="C")
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = base if old is None or old.name is None else old.name
    node.replace_input_with(index, None)
    if old is not None and old.is_initializer() and not old.uses() and not old.is_graph_output():
        assert old.graph is not None and old.name is not None
        old.graph.initializers.pop(old.name)
    node.replace_input_with(index, new_initializer(graph, name, ir.tensor(array)))


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


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The node that uses ``value`` when nothing else does, not even the graph's outputs."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses))[0]


def drop_unused_initializers(model: ir.Model) -> None:
    """Remove weights nobody reads, such as those of branches that were folded away."""
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                graph.initializers.pop(name)
