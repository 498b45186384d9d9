"""Names for what is put into a graph: none that anything in it, subgraphs included, already has."""

from __future__ import annotations

from functools import cached_property

import onnx_ir as ir


class FreeNames:
    """Hands out names of values and of nodes that are free in a whole graph, and remembers them.

    A value may be a graph input, an initializer, a node's output, or one of those inside a branch or loop body, whose
    names must differ from the outer ones too: make one of the main graph. Names stay as asked for where they are free;
    else they get a number. The graph is looked through when the first name is asked for.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._value_numbers: dict[str, int] = {}  # a name that many are called like -> the last number taken
        self._node_numbers: dict[str, int] = {}

    @cached_property
    def _values(self) -> set[str]:
        taken: set[str] = set()
        for graph in (self._graph, *self._graph.subgraphs()):
            taken.update(str(value.name) for value in graph.inputs)
            taken.update(graph.initializers)
            taken.update(str(output.name) for node in graph for output in node.outputs)
        return taken

    @cached_property
    def _nodes(self) -> set[str]:
        return {str(node.name) for node in self._graph.all_nodes()}

    def value(self, wanted: str) -> str:
        """``wanted``, or ``wanted_2``, … where a value has that name."""
        return free_name(wanted, self._values, self._value_numbers)

    def release(self, name: str) -> None:
        """A value of that name is gone."""
        self._values.discard(name)

    def node(self, wanted: str) -> str:
        """``wanted``, or ``wanted_2``, … where a node has that name."""
        return free_name(wanted, self._nodes, self._node_numbers)


def free_name(wanted: str, taken: set[str], numbers: dict[str, int]) -> str:
    """``wanted``, or ``wanted_2``, … where it is among ``taken``, which the answer joins. ``numbers`` remembers up to
    which all are taken.
    """
    name, number = wanted, numbers.get(wanted, 1)
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    if number > 1:
        numbers[wanted] = number
    taken.add(name)
    return name
