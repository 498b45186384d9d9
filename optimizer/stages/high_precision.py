"""The high precision of a run: what everything that is not integer computes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from calibration.table import CalibrationTable
from optimizer.passes.half_precision import HalfPrecision
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.settings import Precision

HIGH_DTYPE = {
    Precision.FP32: Dtype.FP32,
    Precision.FP16: Dtype.FP16,
    Precision.BF16: Dtype.BF16,
    Precision.INT8: Dtype.FP16,
    Precision.AUTO: Dtype.FP16,
}
_ONNX = {Dtype.FP16: ir.DataType.FLOAT16, Dtype.BF16: ir.DataType.BFLOAT16}


def type_rest(
    model: ir.Model, plan: PrecisionPlan, precision: Precision, table: CalibrationTable | None
) -> PrecisionPlan:
    """Type every float node of ``model`` that is not integer, in place; returns the plan as it came out.

    Nodes whose observed ranges or operators need it stay FP32, and the plan says so. FP32 leaves the model alone.
    """
    dtype = HIGH_DTYPE[precision]
    if dtype is Dtype.FP32:
        return plan
    typing = HalfPrecision(_ONNX[dtype], absmax=_largest(table))
    result = typing.apply(model)
    notes = [note for note in result.notes if "stays FP32" not in note]
    return PrecisionPlan(_with_islands(plan, typing.kept), [*plan.notes, *notes])


def _largest(table: CalibrationTable | None) -> dict[str, float]:
    tensors = table.tensors if table else {}
    return {name: max(abs(found.minimum), abs(found.maximum)) for name, found in tensors.items()}


def _with_islands(plan: PrecisionPlan, kept: Mapping[str, str]) -> dict[str, NodePrecision]:
    return {
        name: replace(node, dtype=Dtype.FP32, reason=kept[name])
        if name in kept and node.dtype is not Dtype.INT8
        else node
        for name, node in plan.nodes.items()
    }
