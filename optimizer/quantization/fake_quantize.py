"""Activation quantizers as plain functions, for corrections that work on captured values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from optimizer.quantization.cpu_qdq import uint8_parameters
from optimizer.quantization.graph_edits import values_by_name
from optimizer.quantization.points import Form, Placement
from optimizer.quantization.qdq import activation_scale
from optimizer.quantization.weights import CODE_MAX, Floats


def quantizers(model: ir.Model, placement: Placement, table: CalibrationTable) -> dict[str, Callable[[Floats], Floats]]:
    """What each node's data input goes through in ``placement``: node name -> round to codes and back."""
    values = values_by_name(model.graph)
    found = {}
    for point in placement.activations:
        measured = table.tensors[point.range_name]
        if placement.form is Form.ONNXRUNTIME:
            rounder = unsigned(*uint8_parameters(measured))
        else:
            rounder = symmetric(float(activation_scale(values[point.tensor], measured)))
        found.update({use.node: rounder for use in point.uses if use.index == 0})
    return found


def symmetric(scale: float) -> Callable[[Floats], Floats]:
    """int8 with zero point 0. QuantizeLinear saturates at -128."""

    def apply(values: Floats) -> Floats:
        codes = np.clip(np.rint(values / np.float32(scale)), -CODE_MAX - 1, CODE_MAX)
        return np.asarray(codes * np.float32(scale), np.float32)

    return apply


def unsigned(scale: float, zero: int) -> Callable[[Floats], Floats]:
    """uint8 with a zero point."""

    def apply(values: Floats) -> Floats:
        codes = np.clip(np.rint(values / np.float32(scale)) + zero, 0, 255)
        return np.asarray((codes - zero) * np.float32(scale), np.float32)

    return apply
