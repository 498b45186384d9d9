"""Choose the clipping threshold of an activation by the error it causes where the tensor is used.

A range method looks at the values alone; what matters is the error of the products they enter. Thresholds around the
calibrated one are tried on captured input rows, the mean error left out (bias correction takes it away).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from optimizer.quantization.corrections.reconstruction import capture_inputs, chunks, solvable
from optimizer.quantization.fake_quantize import symmetric
from optimizer.quantization.graph_edits import values_by_name
from optimizer.quantization.points import Placement
from optimizer.quantization.qdq import activation_scale
from optimizer.quantization.rules.weighted import WeightedOp
from optimizer.quantization.weights import Floats, as_float32

FRACTIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0)
"""Thresholds tried, relative to the calibrated one; none beyond the observed extreme."""
WORTH = 0.95


def refine_ranges(
    model: ir.Model, placement: Placement, table: CalibrationTable, feeds: Sequence[Feed], *, seed: int = 0
) -> CalibrationTable:
    """``table`` with better symmetric thresholds for the tensors that weighted ops of ``placement`` read."""
    values = values_by_name(model.graph)
    tensor_of = {use.node: point.range_name for point in placement.activations for use in point.uses if use.index == 0}
    errors: dict[str, Floats] = {}
    for chunk in chunks(list(solvable(model.graph, placement))):
        captured = capture_inputs(model, chunk, feeds, seed + 1)
        for op in chunk:
            name = tensor_of[str(op.node.name)]
            if not values[name].is_graph_input():
                found = _errors(op, values[name], captured.pop(op.node), name, table)
                errors[name] = errors.get(name, np.zeros(len(FRACTIONS), np.float32)) + found
    ranges = dict(table.tensors)
    for name, found in errors.items():
        best = int(np.argmin(found))
        if found[best] < WORTH * found[FRACTIONS.index(1.0)]:
            ranges[name] = replace(
                ranges[name], amax=_threshold(table, name, FRACTIONS[best]), method=f"{ranges[name].method}+output"
            )
    return replace(table, tensors=ranges)


def _threshold(table: CalibrationTable, name: str, fraction: float) -> float:
    found = table.tensors[name]
    return min(found.amax * fraction, max(abs(found.minimum), abs(found.maximum), found.amax))


def _errors(op: WeightedOp, value: ir.Value, rows: Floats, name: str, table: CalibrationTable) -> Floats:
    """Squared error at the op's outputs for each of ``FRACTIONS``, from rounding its data only."""
    weight = np.moveaxis(as_float32(op.tensor), op.axis, 0).reshape(rows.shape[1], -1, rows.shape[2])
    found = []
    for fraction in FRACTIONS:
        tried = replace(table.tensors[name], amax=_threshold(table, name, fraction))
        noise = symmetric(float(activation_scale(value, tried)))(rows) - rows
        noise -= noise.mean(axis=0)
        found.append(sum(float(np.square(noise[:, g] @ weight[g].T).sum()) for g in range(len(weight))))
    return np.asarray(found, np.float32)
