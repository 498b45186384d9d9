"""Codes of data unsigned, as ONNX Runtime's kernels are made for, number for number.

A ReLU before a Q is part of the integer kernel only where its zero is the lowest code. Codes around zero, of numbers
that are never negative, are as well codes from zero on; what the old ones could not reach above is cut off the codes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.number_types import CODE_MAX, MIDDLE
from graphs.reading.quantizers import Pair, pairs
from graphs.writing.edits import GraphEdits
from optimizer.prequantized.edges import set_codes

_ACTIVATIONS = frozenset({"Relu", "Clip"})


def unsigned_codes(model: ir.Model) -> list[str]:
    """Make the codes of activations unsigned, in place; returns notes."""
    edits, changed = GraphEdits(model.graph), 0
    for pair in pairs(model.graph):
        if pair.dtype is not ir.DataType.INT8:
            continue
        if pair.symmetric and _behind_relu(pair):
            _from_zero(edits, pair)
        else:
            set_codes(edits, pair, pair.scale, ir.DataType.UINT8, pair.zero + MIDDLE)
        changed += 1
    return (
        [f"{changed} activations as uint8 codes, which ONNX Runtime's kernels want, number for number"]
        if changed
        else []
    )


def _behind_relu(pair: Pair) -> bool:
    node = pair.data.producer()
    if node is None or node.op_type not in _ACTIVATIONS:
        return False
    if node.op_type == "Relu":
        return True
    low = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    return low is not None and low.size == 1 and float(low.numpy().reshape(-1)[0]) == 0.0


def _from_zero(edits: GraphEdits, pair: Pair) -> None:
    set_codes(edits, pair, pair.scale, ir.DataType.UINT8, 0)
    codes = pair.quantize.outputs[0]
    top = edits.constant(f"{codes.name}/top", np.uint8(CODE_MAX))
    name = f"{codes.name}/within"
    bounded = edits.node("Min", [codes, top], name, name, ir.DataType.UINT8, codes.shape)
    for node in pair.dequantizes:
        node.replace_input_with(0, bounded.outputs[0])
    edits.graph.insert_after(pair.quantize, bounded)
