"""Pairs of which TensorRT makes no integer kernel: they cost conversions, or keep apart what belongs in one kernel."""

from __future__ import annotations

import onnx_ir as ir

from graphs.writing.edits import GraphEdits
from optimizer.prequantized.edges import bypass_pair, listed, removable
from optimizer.prequantized.fusable import Fusable

_ROUNDS = 8
"""A pair taken away may leave another without a reader. Chosen."""


def without_unfused(model: ir.Model) -> list[str]:
    """Take those pairs away, in place; returns notes."""
    edits, gone = GraphEdits(model.graph), list[str]()
    for _ in range(_ROUNDS):
        found = Fusable(model.graph)
        unneeded = [pair for pair in found.pairs if not found.needed(pair) and removable(pair)]
        for pair in unneeded:
            gone.append(str(pair.data.name))
            bypass_pair(edits, pair)
        if not unneeded:
            break
    apart = _apart(model, edits)
    notes = []
    if gone:
        notes.append(
            f"{len(gone)} activations are quantized for no integer kernel of TensorRT's and stay float: {listed(gone)}"
        )
    if apart:
        notes.append(
            f"{len(apart)} convolutions add to a residual sum without rounding before it, as TensorRT fuses both: "
            f"{listed(apart)}"
        )
    return notes


def _apart(model: ir.Model, edits: GraphEdits) -> list[str]:
    """Residual sums whose convolution is rounded before them."""
    apart, found = list[str](), Fusable(model.graph)
    for node in list(model.graph):
        pair = found.main_branch(node)
        if pair is not None:
            apart.append(str(pair.data.name))
            bypass_pair(edits, pair)
            found = Fusable(model.graph)
    return apart
