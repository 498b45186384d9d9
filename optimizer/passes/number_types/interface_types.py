"""The float types of a graph's inputs and outputs, changed with one Cast each, or with one fewer."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, bypass
from optimizer.passes.base import PassResult

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


class InterfaceTypes:
    """Makes every float input and output of the main graph ``dtype``; what computes inside keeps its types."""

    name = "set the types of inputs and outputs"

    def __init__(self, dtype: ir.DataType) -> None:
        self._dtype = dtype

    def apply(self, model: ir.Model) -> PassResult:
        edits = GraphEdits(model.graph)
        # outputs first: one that is an input as it is gets a Cast of what the input was
        changed = sum(self._output(edits, index) for index in range(len(model.graph.outputs)))
        changed += sum(self._input(edits, value) for value in _fed(model.graph))
        name = self._dtype.name.lower()
        return PassResult(changed, (f"{changed} inputs and outputs are {name} now",) if changed else ())

    def _input(self, edits: GraphEdits, value: ir.Value) -> bool:
        old = value.dtype
        if old not in FLOATS or old is self._dtype:
            return False
        assert old is not None
        readers = [use for use in value.uses() if not _is_cast(use.node)]  # a Cast reads any type
        for user in [use.node for use in value.uses() if _is_cast(use.node, self._dtype)]:  # it would undo the new one
            if not user.outputs[0].is_graph_output():
                bypass(user, value)
        value.type = ir.TensorType(self._dtype)
        if not readers:
            return True
        name = f"{value.name}_as_{old.name.lower()}"
        cast = edits.node("Cast", [value], name, name, old, value.shape, {"to": old.value})
        for node, index in readers:
            node.replace_input_with(index, cast.outputs[0])
        edits.graph.insert_before(edits.graph[0], cast)
        return True

    def _output(self, edits: GraphEdits, index: int) -> bool:
        graph = edits.graph
        value = graph.outputs[index]
        old, made = value.dtype, value.producer()
        if old not in FLOATS or old is self._dtype:
            return False
        name = str(value.name)
        source = made.inputs[0] if made is not None and made.op_type == "Cast" and is_standard(made) else None
        if source is not None and source.dtype is self._dtype and _free(source) and not value.uses():
            assert made is not None
            graph.remove(made, safe=False)
            graph.outputs[index] = source
            source.name = name
            return True
        if value.is_graph_input():  # changed with the input
            return False
        if value.is_initializer():
            graph.initializers.pop(name)
        assert old is not None
        value.name = edits.names.value(f"{name}_as_{old.name.lower()}")
        if value.producer() is None:
            graph.register_initializer(value)
        cast = edits.node("Cast", [value], f"{name}_cast", name, self._dtype, value.shape, {"to": self._dtype.value})
        cast.outputs[0].name = name
        graph.append(cast)
        graph.outputs[index] = cast.outputs[0]
        return True


def _fed(graph: ir.Graph) -> Iterable[ir.Value]:
    return [value for value in graph.inputs if not value.is_initializer()]


def _is_cast(node: ir.Node, dtype: ir.DataType | None = None) -> bool:
    """Whether ``node`` is a Cast, to ``dtype`` where one is named."""
    if node.op_type != "Cast" or not is_standard(node):
        return False
    return dtype is None or node.attributes.get_int("to", 0) == dtype.value


def _free(value: ir.Value) -> bool:
    """Whether ``value`` may take the name of an output."""
    return value.producer() is not None and not value.is_graph_output()
