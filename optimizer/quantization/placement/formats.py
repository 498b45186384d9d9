"""Which formats a node can take on which targets: what a search over precisions chooses from.

A choice is a mapping from node names to schemes; ``placement.place(formats=choice)`` types it, FP8 beside INT8 beside
FP16, and everything after it (``qdq.insert``, simulation, lint) reads the form of each point.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from engines.targets.formats import refusal
from engines.targets.target import Target
from graphs.reading.weighted import is_weighted
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import SCHEMES
from optimizer.quantization.rules.catalogue import Rule
from optimizer.quantization.rules.formats import unfit
from optimizer.quantization.rules.weighted import weighted_op

FLOATS = (Dtype.FP32, Dtype.FP16, Dtype.BF16)


def formats_of(node: ir.Node, targets: Sequence[Target]) -> dict[Dtype, str]:
    """Every precision, with the reason that ``node`` cannot have it on all ``targets``; empty where it can.

    Quantized ones are for weighted operators with a constant weight. By structure alone: the guards that need ranges
    speak in ``place``.
    """
    return {dtype: _target(dtype, targets) or _structure(node, dtype) for dtype in Dtype}


def _target(dtype: Dtype, targets: Sequence[Target]) -> str:
    return next((why for target in targets if (why := refusal(dtype.value, target))), "")


def _structure(node: ir.Node, dtype: Dtype) -> str:
    if dtype in FLOATS:
        return ""
    if not is_weighted(node):
        return Rule.EVERY_WEIGHTED_INPUT.reason(f"{node.op_type} has no weight")
    found = weighted_op(node)
    return found if isinstance(found, str) else unfit(found, SCHEMES[dtype])
