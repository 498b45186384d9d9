"""Fold a zero Pad of spatial axes into the Conv that reads it, so that no padded copy is ever made."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.constants import constant_array
from graphs.reading.operators import is_standard
from graphs.writing.edits import bypass
from optimizer.passes.base import PassResult


class FoldPadding:
    """Folds where every consumer of the Pad is a Conv with explicit padding; otherwise the Pad has to stay anyway."""

    name = "fold padding"

    def apply(self, model: ir.Model) -> PassResult:
        folded = 0
        for graph in list(model.graphs()):
            for node in list(graph):
                folded += node.op_type == "Pad" and is_standard(node) and _fold(node)
        return PassResult(folded, (f"{folded} zero paddings folded into convolutions",) if folded else ())


def _fold(pad: ir.Node) -> bool:
    output = pad.outputs[0]
    consumers = {node for node, index in output.uses() if index == 0}
    if not consumers or output.is_graph_output() or any(index != 0 for _, index in output.uses()):
        return False
    if not all(_explicitly_padded_conv(node) for node in consumers):
        return False
    rank = _rank(next(iter(consumers)))
    pads = _spatial_pads(pad, rank)
    if pads is None or any(_rank(node) != rank for node in consumers) or pad.inputs[0] is None:
        return False
    for node in consumers:
        own = node.attributes.get_ints("pads", [0] * len(pads))
        node.attributes["pads"] = ir.AttrInt64s("pads", [a + b for a, b in zip(own, pads, strict=True)])
    bypass(pad, pad.inputs[0])
    return True


def _explicitly_padded_conv(node: ir.Node) -> bool:
    if node.op_type != "Conv" or not is_standard(node):
        return False
    return node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET" and _rank(node) > 2


def _rank(conv: ir.Node) -> int:
    weight = conv.inputs[1]
    return len(weight.shape) if weight is not None and weight.shape is not None else 0


def _spatial_pads(pad: ir.Node, rank: int) -> list[int] | None:
    """Padding as [begins..., ends...] of the spatial axes; None where it is not constant, zero-valued and spatial."""
    if pad.attributes.get_string("mode", "constant") != "constant" or not _pads_with_zero(pad):
        return None
    amounts = constant_array(pad.inputs[1])
    if amounts is None or (amounts < 0).any():
        return None
    axes = list(range(rank))
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        given = constant_array(pad.inputs[3])
        if given is None:
            return None
        axes = [int(axis) % rank for axis in given]
    if len(amounts) != 2 * len(axes):
        return None
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = int(amounts[i]), int(amounts[i + len(axes)])
    if any(begins[:2]) or any(ends[:2]):
        return None
    return begins[2:] + ends[2:]


def _pads_with_zero(pad: ir.Node) -> bool:
    if len(pad.inputs) < 3 or pad.inputs[2] is None:
        return True
    value = constant_array(pad.inputs[2])
    return value is not None and not value.any()
