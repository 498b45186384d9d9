"""Choose the clipping threshold of an activation by the error it causes where the tensor is used.

A range method looks at the values alone; what matters is the error of the products they enter. Thresholds around the
calibrated one are tried on captured input rows, the mean error left out (bias correction takes it away).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from engines.parallel import in_parallel
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp
from graphs.writing.edits import values_by_name
from optimizer.quantization.codes.scheme import ActivationScheme
from optimizer.quantization.codes.weights import as_float32
from optimizer.quantization.corrections.input_rows import InputRows, Rows, solvable
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.reconstruction.moments import mean_of_rows

Errors: TypeAlias = "dict[float, float]"
"""Squared error at ops' outputs by the fraction of the calibrated threshold."""
FRACTIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0)
"""Thresholds tried, relative to the calibrated one; none beyond the observed extreme. Chosen."""
STEPS_UP = 2
"""Thresholds in a row with more error than the least found, after which none further off is tried: chosen, one is a
ripple."""
WORTH = 0.95
"""Squared error, relative to that of the calibrated threshold, below which another is taken. Chosen."""


def refine_ranges(
    rows: InputRows, placement: Placement, table: CalibrationTable, kept: Collection[str] = ()
) -> CalibrationTable:
    """``table`` with better ranges (symmetric or not, as the form needs) for the tensors that weighted ops read, but
    for those named in ``kept``.
    """
    values = values_by_name(rows.model.graph)
    codes_of = {use.node: point.codes for point in placement.activations for use in point.uses if use.index == 0}
    tensor_of = {use.node: point.range_name for point in placement.activations for use in point.uses if use.index == 0}
    known = {*kept, *(name for name in tensor_of.values() if values[name].is_graph_input())}
    ops = [op for op in solvable(rows.model.graph, placement) if tensor_of[str(op.node.name)] not in known]
    readers = Counter(tensor_of[str(op.node.name)] for op in ops)

    def tried(task: tuple[str, list[tuple[WeightedOp, Rows]]]) -> tuple[str, Errors] | None:
        name, reading = task
        if not all(np.isfinite(captured.values).all() for _, captured in reading):
            return None
        parts = [
            _Part.of(op, captured.values, values[name], table.tensors[name], codes_of[str(op.node.name)])
            for op, captured in reading
        ]
        if len(parts) == readers[name]:
            return name, _around_least(lambda fraction: sum(part.error(fraction) for part in parts))
        return name, {fraction: sum(part.error(fraction) for part in parts) for fraction in FRACTIONS}

    errors: dict[str, Errors] = {}
    for chunk in rows.of(ops):
        by_tensor: dict[str, list[tuple[WeightedOp, Rows]]] = {}
        for op, captured in chunk:
            by_tensor.setdefault(tensor_of[str(op.node.name)], []).append((op, captured))
        for name, found in filter(None, in_parallel(tried, list(by_tensor.items()))):
            before = errors.get(name, {})
            errors[name] = {fraction: error + before.get(fraction, 0.0) for fraction, error in found.items()}
    ranges = dict(table.tensors)
    for name, by_fraction in errors.items():
        best = min(by_fraction, key=lambda fraction: by_fraction[fraction])
        if by_fraction[best] < WORTH * by_fraction[1.0]:
            chosen = _resized(ranges[name], best)
            ranges[name] = replace(chosen, method=f"{chosen.method}+output")
    return replace(table, tensors=ranges)


def _around_least(error: Callable[[float], float]) -> Errors:
    """Of the calibrated threshold, and of others to both sides of it until ``STEPS_UP`` in a row have more error than
    the least: clipping errors rise with every step down from there, rounding errors with every step up.
    """
    found = {1.0: error(1.0)}
    middle = FRACTIONS.index(1.0)
    for side in (FRACTIONS[middle - 1 :: -1], FRACTIONS[middle + 1 :]):
        above = 0
        for fraction in side:
            found[fraction] = error(fraction)
            above = above + 1 if found[fraction] > min(found.values()) else 0
            if above == STEPS_UP:
                break
    return found


def _resized(found: TensorRange, fraction: float) -> TensorRange:
    """``found`` with its chosen range resized, within what was observed."""
    extreme = max(abs(found.minimum), abs(found.maximum), found.amax)
    return replace(
        found,
        amax=min(found.amax * fraction, extreme),
        low=max(found.low * fraction, min(found.minimum, found.low)),
        high=min(found.high * fraction, max(found.maximum, found.high)),
    )


@dataclass(frozen=True)
class _Part:
    """What an op makes of errors of its data; ``rows`` [groups, rows, reduction] are all that was captured: a
    transformer's outliers are in few of them, or of its outputs (on half of the rows MiniLM lost 0.5 dB).

    ``factor`` is the weight [groups, reduction, outputs], or its product with itself where that is smaller.
    """

    rows: Floats
    factor: Floats
    squared: bool
    value: ir.Value
    measured: TensorRange
    codes: ActivationScheme
    known: dict[Hashable, float] = field(default_factory=dict)

    @classmethod
    def of(cls, op: WeightedOp, rows: Floats, value: ir.Value, measured: TensorRange, codes: ActivationScheme) -> _Part:
        rows = np.ascontiguousarray(rows.swapaxes(0, 1))
        weight = np.moveaxis(as_float32(op.tensor), op.axis, 0).reshape(len(rows), -1, rows.shape[2]).swapaxes(1, 2)
        squared = weight.shape[2] > weight.shape[1]
        return cls(rows, weight @ weight.swapaxes(1, 2) if squared else weight, squared, value, measured, codes)

    def error(self, fraction: float) -> float:
        """Squared error at the op's outputs from rounding its data within ``fraction`` of the calibrated range."""
        tried = _resized(self.measured, fraction)
        ends = tried.amax, tried.low, tried.high
        if ends not in self.known:  # beyond the observed extreme all thresholds are one
            noise = self.codes.quantizer(self.value, tried)(self.rows)
            noise -= self.rows
            noise -= mean_of_rows(noise)[:, None]
            products = noise @ self.factor
            self.known[ends] = float(np.vdot(products, noise if self.squared else products))
        return self.known[ends]
