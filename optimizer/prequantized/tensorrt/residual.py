"""The pair that the skip branch of a residual sum lacks: without it the sum is not part of the integer convolution."""

from __future__ import annotations

import onnx_ir as ir

from optimizer.prequantized.edges import listed
from optimizer.prequantized.fusable import Fusable, dequantized, is_integer_conv
from optimizer.quantization.rules.residual import depths, skip_input


def quantized_skips(model: ir.Model) -> list[str]:
    """Let such sums read the skip branch as it is quantized for another reader, in place; returns notes. A branch that
    the source quantizes nowhere stays float, for nobody trained a range for it.
    """
    found, depth = {pair.data: pair for pair in Fusable(model.graph).pairs}, depths(model.graph)
    done, left = list[str](), list[str]()
    for node in model.graph:
        skip = skip_input(node, is_integer_conv, lambda value: depth.get(value, 0))
        value = node.inputs[skip] if skip is not None else None
        if skip is None or value is None or dequantized(value) or not _quantized_behind(node):
            continue
        if (pair := found.get(value)) is not None:
            node.replace_input_with(skip, pair.dequantizes[0].outputs[0])
            done.append(str(node.name))
        else:
            left.append(str(node.name))
    notes = []
    if done:
        notes.append(f"{len(done)} residual sums read their skip branch in the INT8 it has anyway: {listed(done)}")
    if left:
        notes.append(f"{len(left)} residual sums stay float: the source quantizes no skip branch of {listed(left)}")
    return notes


def _quantized_behind(node: ir.Node) -> bool:
    """Whether the sum, or the activation behind it, is quantized."""
    pending = list(node.outputs)
    while pending:
        value = pending.pop()
        for use in value.uses():
            if use.node.op_type == "QuantizeLinear":
                return True
            if use.node.op_type in ("Relu", "Clip"):
                pending.extend(use.node.outputs)
    return False
