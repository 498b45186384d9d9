"""A model trained again, matched to the graph that is known, and given its names.

Names inside a graph may differ (an exporter numbers them): nodes are matched by their place, and the new graph then
takes the known names, which plans and ranges are kept by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import onnx_ir as ir

from graphs.errors import BadInput
from graphs.reading.structure import Structure, Wired, described_inputs


@dataclass(frozen=True)
class Renaming:
    """Names in a new graph -> those of the known one, of values and of nodes; without those that are the same."""

    values: dict[str, str]
    nodes: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.values or self.nodes)

    def apply(self, model: ir.Model) -> None:
        """Give ``model`` the known names, in place. What else has one of them, read by nobody, gets another."""
        graph = model.graph
        values = {str(v.name): v for v in (*graph.initializers.values(), *_made(graph))}
        for places, renamed in ((values, self.values), ({str(n.name): n for n in graph}, self.nodes)):
            for known in renamed.values():
                if known in places and known not in renamed:
                    _rename(graph, places[known], f"{known}/unmatched")
            moved = {known: places[name] for name, known in renamed.items()}
            for number, place in enumerate(moved.values()):  # two of them may change places
                _rename(graph, place, f"\0{number}")
            for known, place in moved.items():
                _rename(graph, place, known)


def check_inputs(known: Structure, model: ir.Model, where: str) -> None:
    """Raises ``BadInput`` where ``model``, not cleaned yet, has inputs that ``known`` has not. An axis without a size
    fits any.
    """
    _Match(known, Structure(described_inputs(model.graph), {}, [], {}), where).compare_interface("inputs", _may_be)


def matched(known: Structure, model: ir.Model, where: str) -> Renaming:
    """How the names of ``model`` correspond to those of ``known``, whose graph it is with other weights.

    Raises ``BadInput`` naming the first node, input or weight that differs; ``where`` names the model's file.
    """
    return _Match(known, Structure.of(model), where).run()


class _Match:
    def __init__(self, known: Structure, new: Structure, where: str) -> None:
        self._known, self._new, self._where = known, new, where
        self._names: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def run(self) -> Renaming:
        for kind in ("inputs", "outputs"):
            self.compare_interface(kind)
        for name in self._new.inputs:
            self._pair(name, name, "the graph")
        nodes: dict[str, str] = {}
        for old, new in zip_longest(self._known.nodes, self._new.nodes):
            if new is None:
                raise self._differs(f"there is no node {old.name!r} ({old.op_type}), nor what follows it")
            if old is None:
                raise self._differs(f"node {new.name!r} ({new.op_type}) has no counterpart")
            self._compare(old, new)
            nodes[new.name] = old.name
        for name in self._new.outputs:
            if name in self._new.constants or name in self._known.constants:  # folded: no node makes it
                self._compare_weights(name, name, f"output {name!r}")
                self._pair(name, name, "the graph")
            if self._names.get(name) != name:
                raise self._differs(f"output {name!r} comes from another node")
        return Renaming(_changed(self._names), _changed(nodes))

    def compare_interface(self, kind: str, same: Callable[[str, str], bool] = str.__eq__) -> None:
        """Raises ``BadInput`` where ``inputs`` or ``outputs`` differ in name, type or shape."""
        old, new = getattr(self._known, kind), getattr(self._new, kind)
        one = kind.removesuffix("s")
        for name, described in old.items():
            if name not in new:
                raise self._differs(f"there is no {one} {name!r}", f"{kind}: {', '.join(old)}")
            if not same(described, new[name]):
                raise self._differs(f"{one} {name!r} is {new[name]}", described)
        if more := [name for name in new if name not in old]:
            raise self._differs(f"{one} {more[0]!r} has no counterpart", f"{kind}: {', '.join(old)}")

    def _compare(self, old: Wired, new: Wired) -> None:
        called = f"node {new.name!r}" + (f" ({old.name!r} there)" if old.name != new.name else "")
        if new.op_type != old.op_type:
            raise self._differs(f"{called} is a {new.op_type}", f"a {old.op_type}")
        if (len(new.inputs), len(new.outputs)) != (len(old.inputs), len(old.outputs)):
            raise self._differs(f"{called} has {len(new.inputs)} inputs and {len(new.outputs)} outputs")
        if odd := [n for n in {**old.attributes, **new.attributes} if old.attributes.get(n) != new.attributes.get(n)]:
            raise self._differs(f"{called} has another {odd[0]!r}")
        for old_name, new_name in zip(old.inputs, new.inputs, strict=True):
            if new_name in self._new.constants or old_name in self._known.constants:
                self._compare_weights(old_name, new_name, called)
            self._pair(old_name, new_name, called)
        for old_name, new_name in zip(old.outputs, new.outputs, strict=True):
            self._pair(old_name, new_name, called)

    def _compare_weights(self, old_name: str, new_name: str, called: str) -> None:
        old, new = self._known.constants.get(old_name), self._new.constants.get(new_name)
        if old is None or new is None:
            what = "a constant" if old is None else "no constant"
            raise self._differs(f"{called} reads {new_name!r}, which is {what} in this model alone")
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            raise self._differs(f"weight {new_name!r} of {called} is {new}", str(old))
        if old.content != new.content:
            raise self._differs(f"{new_name!r}, which {called} reads, holds other {new.dtype} values, and is no weight")

    def _pair(self, old: str, new: str, called: str) -> None:
        """``new`` is ``old`` from here on. Raises ``BadInput`` where either was something else."""
        if self._names.setdefault(new, old) != old or self._taken.setdefault(old, new) != new:
            raise self._differs(f"{called} reads or makes {new!r}", repr(self._taken.get(old, old)))

    def _differs(self, what: str, expected: str = "") -> BadInput:
        return BadInput(
            f"not the bundle's model with other weights: {what}",
            where=self._where,
            expected=f"{expected}, as in the bundle" if expected else "the bundle's graph, weights apart",
            fix="a changed graph needs the main job: `optimize MODEL.onnx` with the bundle's options",
        )


def _changed(names: dict[str, str]) -> dict[str, str]:
    return {new: old for new, old in names.items() if new != old}


def _made(graph: ir.Graph) -> Iterator[ir.Value]:
    return (output for node in graph for output in node.outputs if output.name)


def _rename(graph: ir.Graph, place: ir.Value | ir.Node, name: str) -> None:
    """A weight is registered under its name, which its tensor has too."""
    if isinstance(place, ir.Value) and place.is_initializer():
        graph.initializers.pop(str(place.name))
        place.name = name
        if place.const_value is not None:
            place.const_value.name = name
        graph.register_initializer(place)
    else:
        place.name = name


def _may_be(old: str, new: str) -> bool:
    """Whether two descriptions differ in sizes alone that one of them leaves open."""
    (dtype, shape), (other, others) = old.split(" ", 1), new.split(" ", 1)
    sizes = list(zip_longest(shape.split("x"), others.split("x")))
    return dtype == other and all(a == b or "N" in (a, b) for a, b in sizes)
