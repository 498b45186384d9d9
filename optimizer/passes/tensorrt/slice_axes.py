"""State the axes of a Slice that leaves them out: the first ones, as many as it has starts.

TensorRT-RTX 1.7 takes all of the data's axes instead, and refuses a Slice of fewer ("starts misaligns with the shape of
input axes").
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import input_at
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits
from optimizer.passes.base import PassResult

_STARTS, _AXES, _SINCE = 1, 3, 10
"""A Slice's inputs, and the opset in which they became such."""


class StateSliceAxes:
    """In every graph, bodies included, where the number of starts is known."""

    name = "state the axes of slices"

    def apply(self, model: ir.Model) -> PassResult:
        if model.opset_imports.get("", 0) < _SINCE:
            return PassResult(0)
        open_ones = [node for graph in model.graphs() for node in graph if _starts(node)]
        edits = GraphEdits(model.graph) if open_ones else None
        for node in open_ones:
            assert edits is not None
            node.resize_inputs(max(len(node.inputs), _AXES + 1))
            node.replace_input_with(_AXES, edits.constant(f"{node.name}/axes", np.arange(_starts(node))))
        return PassResult(len(open_ones))


def _starts(node: ir.Node) -> int:
    """How many axes a Slice without axes slices; 0 for others, and where it is not known."""
    if node.op_type != "Slice" or not is_standard(node) or input_at(node, _AXES) is not None:
        return 0
    starts = input_at(node, _STARTS)
    shape = starts.shape if starts is not None else None
    return shape[0] if shape is not None and len(shape) == 1 and isinstance(shape[0], int) else 0
