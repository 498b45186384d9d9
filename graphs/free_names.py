"""Names for what is put into a graph: none that anything in it, subgraphs included, already has."""

from __future__ import annotations

import itertools

import onnx_ir as ir


class FreeNames:
    """Hands out names of values and of nodes that are free in a whole graph, and remembers them.

    A value may be a graph input, an initializer, a node's output, or one of those inside a branch or loop body, whose
    names must differ from the outer ones too. Names stay as asked for where they are free; else they get a number.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._values: set[str] = set()
        self._nodes: set[str] = set()
        for inner in (graph, *graph.subgraphs()):
            self._take(inner)

    def _take(self, graph: ir.Graph) -> None:
        self._values.update(str(value.name) for value in graph.inputs)
        self._values.update(graph.initializers)
        for node in graph:
            self._nodes.add(str(node.name))
            self._values.update(str(output.name) for output in node.outputs)

    def value(self, wanted: str) -> str:
        """``wanted``, or ``wanted_2``, … where a value has that name."""
        return free_name(wanted, self._values)

    def node(self, wanted: str) -> str:
        """``wanted``, or ``wanted_2``, … where a node has that name."""
        return free_name(wanted, self._nodes)


def free_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, or ``wanted_2``, … where it is among ``taken``, which the answer joins."""
    tried = itertools.chain([wanted], (f"{wanted}_{number}" for number in itertools.count(2)))
    name = next(name for name in tried if name not in taken)
    taken.add(name)
    return name
