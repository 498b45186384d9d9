"""Is a weight that is said to be 2:4 still that in the graph an engine is built from? Looked at, never assumed.

Weights may have gone through equalization, rounding to codes, a cast or a transposition since they were pruned. Each is
followed from its product back to the constant, and the pattern checked along the axis that the product sums over, which
is the one TensorRT's sparse tactics need it along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from graphs.reading.two_four import is_two_four, weight_of
from graphs.reading.weighted import is_weighted, reduction_axis
from optimizer.precision import NodePrecision
from optimizer.sparsity.pattern import TWO_FOUR
from optimizer.sparsity.record import DENSE, NodeSparsity


def with_sparsity(
    nodes: Mapping[str, NodePrecision], claims: Mapping[str, NodeSparsity], written: ir.Model
) -> tuple[dict[str, NodePrecision], list[str]]:
    """``nodes`` of a plan with what is true of their sparsity in ``written``; and a line for each claim that is not."""
    held = confirmed(claims, written)
    found = dict(nodes)
    for name, claim in held.items():
        if name in found:
            pattern = TWO_FOUR if claim.sparse else ""
            pruned = claim.sparse and not claim.given
            found[name] = replace(found[name], sparsity=pattern, sparsity_reason=claim.reason, pruned=pruned)
    lost = [name for name, claim in claims.items() if claim.sparse and not held[name].sparse]
    return found, [f"{name}: pruned to 2:4, but {held[name].reason}" for name in lost]


def confirmed(claims: Mapping[str, NodeSparsity], written: ir.Model) -> dict[str, NodeSparsity]:
    """``claims`` as they hold in ``written``: where a weight is not 2:4 there, it is said to be dense, and why."""
    nodes = {str(node.name): node for graph in written.graphs() for node in graph}
    return {name: _looked_at(claim, nodes.get(name)) if claim.sparse else claim for name, claim in claims.items()}


def _looked_at(claim: NodeSparsity, node: ir.Node | None) -> NodeSparsity:
    if node is None or not is_weighted(node):
        return replace(claim, pattern=DENSE, reason="the typed graph has no such product, so nothing is claimed")
    weight = weight_of(node)
    if weight is None:
        return replace(claim, pattern=DENSE, reason="its weight is computed in the typed graph, so nothing is claimed")
    if not is_two_four(weight, reduction_axis(node, weight.ndim)):
        return replace(claim, pattern=DENSE, reason="its weight is not 2:4 any more in the typed graph")
    return claim
