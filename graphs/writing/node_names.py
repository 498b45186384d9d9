"""Unique, stable node names: plans, reports and ``optimize explain`` refer to nodes by them."""

from __future__ import annotations

import onnx_ir as ir

from graphs.writing.free_names import free_name


def name_nodes(model: ir.Model) -> int:
    """Give every unnamed node the name ``OpType_output`` and every repeated name a number; returns how many changed.

    The names depend on the graph alone, so the same file gives the same names each time, and a node that has a unique
    name keeps it.
    """
    nodes = [node for graph in model.graphs() for node in graph]
    taken = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    changed = 0
    for node in nodes:
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        node.name = free_name(node.name or _from_output(node), taken, numbers)
        seen.add(node.name)
        changed += 1
    return changed


def _from_output(node: ir.Node) -> str:
    output = next((value.name for value in node.outputs if value.name), "")
    return f"{node.op_type}_{output}" if output else node.op_type
