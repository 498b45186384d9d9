"""The few graph edits every inserter needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from optimizer.quantization.points import Use


def values_by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Graph inputs, initializers and node outputs of the main graph."""
    found = {str(value.name): value for value in graph.inputs}
    found.update((str(name), value) for name, value in graph.initializers.items())
    found.update((str(output.name), output) for node in graph for output in node.outputs)
    return found


def initializer(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """Register ``tensor`` under its own name and return its value."""
    value = ir.Value(
        name=tensor.name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def constant(
    graph: ir.Graph, name: str, array: NDArray[Any] | np.generic, dtype: ir.DataType | None = None
) -> ir.Value:
    """An initializer called ``name`` holding ``array`` (cast to ``dtype``)."""
    values = np.asarray(array)
    return initializer(graph, ir.Tensor(values.astype(dtype.numpy()) if dtype is not None else values, name=name))


def describe(value: ir.Value, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> None:
    """Give a fresh node output its name and type."""
    value.name, value.type, value.shape = name, ir.TensorType(dtype), shape


def after(graph: ir.Graph, value: ir.Value, nodes: Iterable[ir.Node]) -> None:
    """Insert ``nodes`` right behind the producer of ``value``, or at the front for a graph input."""
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, nodes)
    else:
        graph.insert_before(graph[0], nodes)


def rewire(nodes: Mapping[str, ir.Node], uses: Iterable[Use], value: ir.Value) -> None:
    """Make ``uses`` read ``value``."""
    for use in uses:
        nodes[use.node].replace_input_with(use.index, value)


def drop_if_unread(graph: ir.Graph, value: ir.Value) -> None:
    """Forget an initializer nobody reads any more, so that its memory can go."""
    if not value.uses() and not value.is_graph_output() and value.name in graph.initializers:
        del graph.initializers[str(value.name)]
