"""Going over a graph with rules for single operators, remembering what became of every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array
from graphs.reading.operators import is_standard
from graphs.writing.free_names import FreeNames
from optimizer.importing.adapters.site import Site

_FLOAT, _INT64, _BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL


class Spot(Site):
    """A node, and ways to write it otherwise. ``made`` are the nodes put in front of it, ``wide`` those among them that
    must compute in FP32 whatever the whole does.
    """

    def __init__(self, node: ir.Node, names: FreeNames) -> None:
        super().__init__(node, names, last=True)
        self.made: list[ir.Node] = []
        self.wide: list[ir.Node] = []

    def add(self, op_type: str, inputs: Sequence[ir.Value | None], name: str, **attributes: object) -> ir.Value:
        value = super().add(op_type, inputs, name, **attributes)
        producer = value.producer()
        assert producer is not None
        self.made.append(producer)
        return value

    def do(
        self, op_type: str, *inputs: ir.Value | None, dtype: ir.DataType | None = None, **attributes: object
    ) -> ir.Value:
        """The result of a new node in front of this one, of the type of its first input unless ``dtype`` is given."""
        value = self.add(op_type, inputs, op_type.lower(), **attributes)
        if dtype is not None:
            value.dtype = dtype
        return value

    def in_fp32(self, op_type: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """The same for a node that half precision would ruin."""
        value = self.do(op_type, *inputs, dtype=None, **attributes)
        self.wide.append(self.made[-1])
        return value

    def number(self, value: float) -> ir.Value:
        """An FP32 scalar."""
        return self.array("number", np.float32(value))

    def integers(self, values: Sequence[int]) -> ir.Value:
        return self.array("integers", np.array(values, np.int64))

    def array(self, name: str, values: Array | np.generic) -> ir.Value:
        array = np.asarray(values)
        value = self.constant(name, array)
        value.dtype, value.shape = ir.DataType.from_numpy(array.dtype), ir.Shape(array.shape)
        return value

    def fresh_node(self, wanted: str) -> str:
        return self._names.node(wanted)

    def fresh_value(self, wanted: str) -> str:
        return self._names.value(wanted)

    def shape_of(self, value: ir.Value) -> ir.Value:
        return self.do("Shape", value, dtype=_INT64)

    def compared(self, op_type: str, first: ir.Value, second: ir.Value) -> ir.Value:
        return self.do(op_type, first, second, dtype=_BOOL)

    def deliver(self, *results: ir.Value | None) -> None:
        """Let ``results`` stand for the node's outputs and take the node away; the one that makes the first result gets
        its name, so that plans and reports still speak of it. None for an output that nobody asked for.
        """
        node = self.node
        for index, value in enumerate(results):
            if value is not None and index < len(node.outputs) and node.outputs[index].name:
                self.hand_over(index, value)
        assert node.graph is not None
        node.graph.remove(node, safe=True)
        last = results[0].producer() if results and results[0] is not None else None
        if last is not None and last in self.made:
            last.name, node.name = node.name, last.name


Rule: TypeAlias = Callable[[Spot], bool]
"""Writes one node in another way; whether it did."""


@dataclass
class Rewritten:
    """``sources``: every node that was put in -> the node it is a part of; ``wide`` those of them that must compute in
    FP32. ``changed``: operators, and how many.
    """

    sources: dict[str, str] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)
    changed: Counter[str] = field(default_factory=Counter)


def rewrite(model: ir.Model, rules: Mapping[str, Sequence[Rule]]) -> Rewritten:
    """Let ``rules`` of its operator see every node of ``model``, bodies included, in place."""
    names, found = FreeNames(model.graph), Rewritten()
    for graph in model.graphs():
        for node in list(graph):
            source, op_type = str(node.name), node.op_type
            for rule in rules.get(op_type, ()) if is_standard(node) else ():
                spot = Spot(node, names)
                if rule(spot):
                    found.changed[op_type] += 1
                    found.sources |= {str(made.name): source for made in spot.made}
                    found.wide |= {str(made.name) for made in spot.wide}
                if node.graph is None or node.op_type != op_type:
                    break
    return found
