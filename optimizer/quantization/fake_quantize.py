"""Activation quantizers as plain functions, for corrections that work on captured values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.edits import values_by_name
from optimizer.quantization.cpu_qdq import uint8_parameters
from optimizer.quantization.insertion_points import Form, Placement
from optimizer.quantization.qdq import activation_scale
from optimizer.quantization.weights import CODE_MAX, Floats

Quantizer: TypeAlias = Callable[[Floats], Floats]
"""Sends values through the quantizer of an activation and back."""
_ENOUGH = 1 << 17
"""Elements on which a clipping fraction is chosen."""
_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def quantizers(model: ir.Model, placement: Placement, table: CalibrationTable) -> dict[str, Quantizer]:
    """What each node's data input goes through in ``placement``: node name -> round to codes and back."""
    values = values_by_name(model.graph)
    found = {}
    for point in placement.activations:
        measured = table.tensors[point.range_name]
        if placement.form is Form.ONNXRUNTIME:
            rounder: Quantizer = Unsigned(*uint8_parameters(measured))
        else:
            rounder = Symmetric(float(activation_scale(values[point.tensor], measured)))
        found.update({use.node: rounder for use in point.uses if use.index == 0})
    return found


@dataclass(frozen=True)
class Symmetric:
    """Through int8 with zero point 0 and back. QuantizeLinear saturates at -128."""

    scale: float

    def __call__(self, values: Floats) -> Floats:
        return _through(values, np.float32(self.scale), -CODE_MAX - 1, CODE_MAX)

    def through(self, anchor: float) -> Symmetric:
        """The nearest scale of which ``anchor`` is a whole number of steps."""
        return Symmetric(anchor / max(round(anchor / self.scale), 1))


@dataclass(frozen=True)
class Unsigned:
    """Through uint8 with a zero point and back."""

    scale: float
    zero: int

    def __call__(self, values: Floats) -> Floats:
        return _through(values, np.float32(self.scale), -self.zero, 2 * CODE_MAX + 1 - self.zero)


def _through(values: Floats, scale: np.float32, lowest: int, highest: int) -> Floats:
    """Rounded to multiples of ``scale`` from ``lowest`` to ``highest``: one temporary, the result."""
    steps: Floats = np.divide(values, scale, dtype=np.float32)
    np.rint(steps, out=steps)
    np.clip(steps, lowest, highest, out=steps)
    steps *= scale
    return steps


def best_symmetric(values: Floats, ends: Floats) -> Symmetric:
    """The int8 quantizer with the least squared error on ``values``; ``ends`` are known to be reached."""
    top = float(np.abs(ends).max(initial=0.0)) or 1.0
    return _best([Symmetric(top * fraction / CODE_MAX) for fraction in _FRACTIONS], values)


def best_unsigned(values: Floats, ends: Floats) -> Unsigned:
    """The uint8 quantizer with the least squared error on ``values``; both ends are drawn in alike."""
    low, high = float(ends.min(initial=0.0)), float(ends.max(initial=0.0))
    full = (high - low) / (2 * CODE_MAX + 1) or 1.0
    return _best([Unsigned(full * f, round(-low / full)) for f in _FRACTIONS], values)


_Q = TypeVar("_Q", Symmetric, Unsigned)


def _best(tried: Sequence[_Q], values: Floats) -> _Q:
    some = values[:: max(values.size // _ENOUGH, 1)]
    errors = []
    for quantizer in tried:
        error = quantizer(some)
        error -= some
        errors.append(float(np.vdot(error, error)))
    return tried[int(np.argmin(errors))]
