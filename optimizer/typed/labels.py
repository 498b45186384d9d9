"""What the typed graph says of its own products: a model may come with int8 in it."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from graphs.reading.macs import is_int8
from optimizer.precision import Dtype, PrecisionPlan

GIVEN = "as in the source"


def with_given_int8(plan: PrecisionPlan, typed: ir.Model) -> PrecisionPlan:
    """``plan`` with every product of ``typed`` that computes in 8 bits called so, whoever quantized it."""
    nodes = dict(plan.nodes)
    for node in typed.graph.all_nodes():
        known = nodes.get(str(node.name))
        if known is not None and not known.dtype.quantized and is_int8(node):
            nodes[str(node.name)] = replace(known, dtype=Dtype.INT8, reason=GIVEN)
    return PrecisionPlan(nodes, plan.notes)
