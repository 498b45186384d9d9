"""Rules 6 and 13: the one input of a residual Add that gets Q/DQ."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir


def skip_input(
    add: ir.Node, is_integer_conv: Callable[[ir.Node], bool], depth: Callable[[ir.Value], int]
) -> int | None:
    """Which input of ``add`` is the skip branch, or None where the Add fuses with no integer conv.

    The branch that comes straight out of an integer conv (read by nobody else) is fused into that conv's epilogue and
    must stay bare. With a conv on both sides (a projection shortcut) the deeper one is the main path, so the shallower
    one is quantized (Model-Optimizer's longest path to the common ancestor).
    """
    if add.op_type != "Add" or len(add.inputs) != 2 or None in add.inputs or add.inputs[0] is add.inputs[1]:
        return None
    fused = [_fuses(value, is_integer_conv) for value in add.inputs]
    if not any(fused):
        return None
    if all(fused):
        return 0 if depth(_value(add, 0)) < depth(_value(add, 1)) else 1
    skip = fused.index(False)
    return skip if _computed(_value(add, skip)) else None


def _value(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def _fuses(value: ir.Value | None, is_integer_conv: Callable[[ir.Node], bool]) -> bool:
    producer = value.producer() if value is not None else None
    if value is None or producer is None or len(value.uses()) != 1 or value.is_graph_output():
        return False
    return is_integer_conv(producer)


def _computed(value: ir.Value) -> bool:
    """Activations only: adding a constant is a bias, not a join (rule 13)."""
    return value.const_value is None and (value.producer() is not None or value.is_graph_input())


def depths(graph: ir.Graph) -> dict[ir.Value, int]:
    """Longest path from a graph input to every value, in nodes."""
    found: dict[ir.Value, int] = {}
    for node in graph:
        depth = 1 + max((found.get(value, 0) for value in node.inputs if value is not None), default=0)
        found.update(dict.fromkeys(node.outputs, depth))
    return found
