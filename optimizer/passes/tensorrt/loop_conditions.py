"""Give every Loop a trip count and a first condition: those that the standard says stand for ones left out.

TensorRT-RTX 1.7 leaves the counter or condition of the body unknown where count or condition is left out, and where the
count is a constant of 2^31 - 1 or more, which exporters of PyTorch write for a ``while``; it then refuses what reads
them ("Node input was not registered").
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array, input_at
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits
from optimizer.passes.base import PassResult

_NO_END = 2**31 - 2
"""Steps: the most that TensorRT-RTX 1.7 takes for a count. At a microsecond a step they take more than half an hour."""
_COUNT, _CONDITION = 0, 1
"""A Loop's inputs."""


class StateLoopConditions:
    """In every graph, bodies included."""

    name = "state the conditions of loops"

    def apply(self, model: ir.Model) -> PassResult:
        loops = [node for graph in model.graphs() for node in graph if node.op_type == "Loop" and is_standard(node)]
        edits = GraphEdits(model.graph) if loops else None
        stated = 0
        for index, name, value in (
            (_COUNT, "trip_count", np.array(_NO_END)),
            (_CONDITION, "condition", np.array(True)),
        ):
            open_ones = [loop for loop in loops if _is_open(loop, index)]
            if open_ones and edits is not None:
                _give(open_ones, index, edits.constant(f"loop_{name}", value))
            stated += len(open_ones)
        return PassResult(stated)


def _is_open(loop: ir.Node, index: int) -> bool:
    given = input_at(loop, index)
    count = constant_array(given) if index == _COUNT else None
    return given is None or (count is not None and bool((count > _NO_END).all()))


def _give(loops: list[ir.Node], index: int, value: ir.Value) -> None:
    for loop in loops:
        loop.resize_inputs(max(len(loop.inputs), index + 1))
        loop.replace_input_with(index, value)
