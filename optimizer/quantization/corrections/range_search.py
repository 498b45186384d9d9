"""Choose the clipping threshold of an activation by the error it causes where the tensor is used.

A range method looks at the values alone; what matters is the error of the products they enter. Thresholds around the
calibrated one are tried on captured input rows, the mean error left out (bias correction takes it away).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from engines.parallel import in_parallel
from graphs.edits import values_by_name
from graphs.weighted import WeightedOp
from optimizer.quantization.corrections.input_rows import InputRows, Rows, solvable
from optimizer.quantization.insertion_points import Placement
from optimizer.quantization.scheme import ActivationScheme
from optimizer.quantization.weights import Floats, as_float32

FRACTIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0)
"""Thresholds tried, relative to the calibrated one; none beyond the observed extreme."""
WORTH = 0.95
"""Squared error, relative to that of the calibrated threshold, below which another is taken."""


def refine_ranges(rows: InputRows, placement: Placement, table: CalibrationTable) -> CalibrationTable:
    """``table`` with better ranges (symmetric or not, as the form needs) for the tensors that weighted ops read."""
    values = values_by_name(rows.model.graph)
    tensor_of = {use.node: point.range_name for point in placement.activations for use in point.uses if use.index == 0}

    def tried(task: tuple[WeightedOp, Rows]) -> tuple[str, Floats] | None:
        op, captured = task
        name, found = tensor_of[str(op.node.name)], captured.values
        if values[name].is_graph_input() or not np.isfinite(found).all():
            return None
        return name, _errors(op, values[name], found, table.tensors[name], placement.scheme.activations)

    errors: dict[str, Floats] = {}
    for chunk in rows.of(list(solvable(rows.model.graph, placement))):
        for found in filter(None, in_parallel(tried, chunk)):
            errors[found[0]] = errors.get(found[0], np.zeros(len(FRACTIONS), np.float32)) + found[1]
    ranges = dict(table.tensors)
    for name, error in errors.items():
        best = int(np.argmin(error))
        if error[best] < WORTH * error[FRACTIONS.index(1.0)]:
            chosen = _resized(ranges[name], FRACTIONS[best])
            ranges[name] = replace(chosen, method=f"{chosen.method}+output")
    return replace(table, tensors=ranges)


def _resized(found: TensorRange, fraction: float) -> TensorRange:
    """``found`` with its chosen range resized, within what was observed."""
    extreme = max(abs(found.minimum), abs(found.maximum), found.amax)
    return replace(
        found,
        amax=min(found.amax * fraction, extreme),
        low=max(found.low * fraction, min(found.minimum, found.low)),
        high=min(found.high * fraction, max(found.maximum, found.high)),
    )


def _errors(op: WeightedOp, value: ir.Value, rows: Floats, measured: TensorRange, codes: ActivationScheme) -> Floats:
    """Squared error at the op's outputs for each of ``FRACTIONS``, from rounding its data. All rows and outputs
    count: a transformer's outliers are in few of either (on half of the rows MiniLM lost 0.5 dB).
    """
    rows = np.ascontiguousarray(rows.swapaxes(0, 1))  # [groups, rows, reduction]
    weight = np.moveaxis(as_float32(op.tensor), op.axis, 0).reshape(len(rows), -1, rows.shape[2]).swapaxes(1, 2)
    gram = weight @ weight.swapaxes(1, 2) if weight.shape[2] > weight.shape[1] else None  # the cheaper product
    found = []
    for fraction in FRACTIONS:
        tried = _resized(measured, fraction)
        noise = codes.quantizer(value, tried)(rows)
        noise -= rows
        noise -= noise.mean(axis=1, keepdims=True)
        found.append(float(np.vdot(noise @ gram, noise) if gram is not None else np.square(noise @ weight).sum()))
    return np.asarray(found, np.float32)
