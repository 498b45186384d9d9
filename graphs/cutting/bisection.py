"""The first node along a graph whose result is wrong, found by asking about a few tensors at a time.

What wrong means is the asker's: a figure per tensor, in dB, below a bar. Like ``git bisect`` it walks a graph of
dependencies: a wrong tensor leaves only what it is made of to be looked at, a right one takes all that it is made of
out of question. So of n tensors in a row about log(n) / log(width + 1) rounds are asked for, and never more than
``width`` tensors are held at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

Ask: TypeAlias = "Callable[[Sequence[str]], Mapping[str, float]]"
"""What is measured of tensors, by name, in dB; one that cannot be read is left out."""

WIDTH = 8
"""Tensors asked about at once. Chosen: 1,000 nodes in a row take four rounds, and a build with eight more outputs still
fuses most of what it did without them.
"""
ROUNDS = 8
"""Times that is asked, whatever the graph. Chosen: twice what 1,000 nodes in a row take, for branches."""
HALF_DB = 3.0
"""A tensor this far above the output carries half of the noise that reaches it. Chosen."""
JUMP_DB = 6.0
"""How far a node's result must lie below what it reads to be where an error begins: twice the amplitude. Chosen."""
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class FirstBad:
    """``tensor``, which ``node`` makes, has ``value`` dB, below the bar; ``before`` is the worst that was measured of
    what it is made of, infinite where that is the graph's own inputs. What lies between could not be read, or was not
    asked about any more.
    """

    node: str
    op_type: str
    tensor: str
    value: float
    before: float

    @property
    def begins_here(self) -> bool:
        """Whether the error is this node's own, not one that grew along the graph."""
        return self.before - self.value >= JUMP_DB


class Bisection:
    """Searches the main graph of ``model``. What was asked once is known from then on, whatever the bar."""

    def __init__(self, model: ir.Model, ask: Ask, *, width: int = WIDTH, rounds: int = ROUNDS) -> None:
        self._ask, self._width, self._left = ask, width, rounds
        self._places = _made_of_data(model.graph)
        self._by_name = {str(value.name): value for value in self._places}
        self._known: dict[ir.Value, float] = {}
        self._unreadable: set[ir.Value] = set()

    def first_bad(self, output: str, value: float, alike: float) -> FirstBad | None:
        """Where the error of ``output``, which has ``value`` dB, begins; None where it has no node.

        The bar begins where half of the output's noise is there. Where what is found mostly passes on what it was
        given, the bar is raised half way to ``alike``, from which two results count as the same, until a node is found
        that adds an error of its own.
        """
        if output not in self._by_name:
            return None
        bad, bar = self._by_name[output], min(value + HALF_DB, alike)
        self._known[bad] = value
        found = self._below(bad, bar)
        while not found.begins_here and math.isfinite(found.before) and self._left > 0 and found.before < alike - 1:
            bar = (found.before + alike) / 2
            found = self._below(self._by_name[found.tensor], bar)
        return found

    def _below(self, bad: ir.Value, bar: float) -> FirstBad:
        while True:
            right = self._made_of(value for value, db in self._known.items() if db >= bar)
            open_ = sorted(self._made_of([bad]) - right, key=lambda value: self._places[value])
            known_bad = [value for value in open_ if self._known.get(value, bar) < bar]
            if known_bad and known_bad[0] is not bad:
                bad = known_bad[0]
                continue
            unknown = [value for value in open_ if value is not bad and self._readable(value)]
            if not unknown or self._left <= 0:
                return self._found(bad, bar, open_)
            self._measure(spread(unknown, self._width))

    def _measure(self, values: Sequence[ir.Value]) -> None:
        self._left -= 1
        answers = self._ask([str(value.name) for value in values])
        for value in values:
            if value.name in answers:
                self._known[value] = answers[str(value.name)]
            else:
                self._unreadable.add(value)

    def _found(self, bad: ir.Value, bar: float, open_: Sequence[ir.Value]) -> FirstBad:
        node = bad.producer()
        assert node is not None
        before = [db for value, db in self._known.items() if db >= bar and self._feeds(value, open_)]
        worst = min(before, default=math.inf)
        return FirstBad(str(node.name), node.op_type, str(bad.name), self._known[bad], worst)

    def _feeds(self, value: ir.Value, open_: Sequence[ir.Value]) -> bool:
        readers = {user for user, _ in value.uses()}
        return any(made in readers for other in open_ if (made := other.producer()) is not None)

    def _readable(self, value: ir.Value) -> bool:
        return value not in self._known and value not in self._unreadable and can_be_read(value)

    def _made_of(self, values: Iterable[ir.Value]) -> set[ir.Value]:
        """``values`` and every result of a node that data reach them by."""
        found, todo = set[ir.Value](), [value for value in values if value in self._places]
        while todo:
            value = todo.pop()
            if value in found:
                continue
            found.add(value)
            node = value.producer()
            assert node is not None
            todo.extend(other for other in reads(node) if other in self._places)
        return found


def _made_of_data(graph: ir.Graph) -> dict[ir.Value, int]:
    """Results of nodes that read an input of the graph, however far back, and the place of their node; what is made of
    shapes alone is right whatever the data, and says nothing of what they are the shapes of.
    """
    data, places = set(graph.inputs) - set(graph.initializers.values()), dict[ir.Value, int]()
    for index, node in enumerate(graph):
        if node.op_type not in ("Shape", "Size") and not reads(node).isdisjoint(data):
            data.update(node.outputs)
            places.update(dict.fromkeys(node.outputs, index))
    return places


def reads(node: ir.Node) -> set[ir.Value]:
    """What a node reads, inside its bodies too."""
    found = {value for value in node.inputs if value is not None}
    for attribute in node.attributes.values():
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            graphs = [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else attribute.as_graphs()
            for graph in graphs:
                found |= {value for inner in graph for value in reads(inner)} | set(graph.outputs)
    return found


def can_be_read(value: ir.Value) -> bool:
    """Whether a result says something where it is read: a float tensor, but none of DequantizeLinear, which engines
    fuse with what reads it.
    """
    made = value.producer()
    dequantized = made is not None and made.op_type == "DequantizeLinear"
    return bool(value.name) and isinstance(value.type, ir.TensorType) and value.dtype in _FLOATS and not dequantized


def spread(values: Sequence[ir.Value], count: int) -> list[ir.Value]:
    """At most ``count`` of ``values``, evenly spaced and without the ends where there are more than that."""
    if len(values) <= count:
        return list(values)
    return [values[(index + 1) * len(values) // (count + 1)] for index in range(count)]
