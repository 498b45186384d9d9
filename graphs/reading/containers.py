"""Sequences and optionals, which are no tensors: what makes them and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache

import onnx
import onnx_ir as ir

from graphs.reading.operators import is_standard

_ELEMENTS = {"SequenceAt", "SequenceLength", "ConcatFromSequence"}
"""Operators that read a sequence and make none."""
_CONTAINERS = {"Optional", "OptionalGetElement", "OptionalHasElement"}


def forget_containers(model: ir.Model) -> None:
    """Take types from sequences, in place: shape inference notes that of their elements, and none is better than a
    wrong one.
    """
    found = {value for graph in model.graphs() for node in graph for value in _made_containers(node, model)}
    while found and (handed := {v for graph in model.graphs() for v in _handed_on(graph, found)} - found):
        found |= handed
    for value in found:
        value.type = value.shape = None


def _made_containers(node: ir.Node, model: ir.Model) -> Sequence[ir.Value]:
    """The results of a node that makes sequences."""
    makes = is_standard(node) and "Sequence" in node.op_type and node.op_type not in _ELEMENTS
    return node.outputs if makes and deals_in_containers(node.op_type, model.opset_imports.get("", 1)) else ()


def _handed_on(graph: ir.Graph, containers: Set[ir.Value]) -> Iterator[ir.Value]:
    """What nodes of ``graph`` bind to ``containers``: other names of them, what goes into bodies and comes out."""
    for node in graph:
        for bound in _bound(node) if is_standard(node) else ():
            if not containers.isdisjoint(bound):
                yield from bound


def _bound(node: ir.Node) -> list[list[ir.Value]]:
    """Values of one type each, by control flow: the states of a Loop, the results of the branches of an If."""
    if node.op_type == "Identity":
        rows: Iterable[tuple[ir.Value | None, ...]] = [(*node.inputs, *node.outputs)]
    elif node.op_type == "If":
        branches = (node.attributes[name].as_graph().outputs for name in ("then_branch", "else_branch"))
        rows = zip(node.outputs, *branches, strict=False)
    elif node.op_type == "Loop":
        body = node.attributes["body"].as_graph()
        rows = zip(node.inputs[2:], body.inputs[2:], body.outputs[1:], node.outputs, strict=False)
    else:
        rows = ()
    return [[value for value in row if value is not None] for row in rows]


@lru_cache(maxsize=1024)
def deals_in_containers(op_type: str, opset: int) -> bool:
    """Whether a standard operator takes or makes sequences or optionals by its nature (Identity and If only may)."""
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return False
    of = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    slots = [of.get(slot.type_str, [slot.type_str]) for slot in (*schema.inputs, *schema.outputs)]
    return op_type in _CONTAINERS or any(all(kind.startswith("seq(") for kind in slot) for slot in slots if slot)
