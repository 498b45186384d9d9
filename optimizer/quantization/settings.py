"""What is asked of a quantization, and the form in which that is placed and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.onnxruntime.integer_products import largest_weight_code
from optimizer.quantization.corrections.catalogue import ALL, Correction
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.cpu_placement import place_for_cpu
from optimizer.quantization.cpu_qdq import insert_for_cpu
from optimizer.quantization.insertion_points import Form, Placement
from optimizer.quantization.placement import place
from optimizer.quantization.qdq import QuantizedWeight, insert
from optimizer.quantization.weights import WeightScales


@dataclass(frozen=True)
class QuantizeSettings:
    """``corrections`` are those to make. ``keep_float`` maps node names to why they stay in high precision; ``costs``
    are MACs per sample by node name. ``allowance`` says how many of them may stay out of int8 for the error they cause
    (in the CPU form only where the model would be of no use otherwise). ``code_max`` is the largest weight code of the
    CPU form; None asks this CPU. ``float_results`` are convolutions whose result the CPU form writes in float.
    """

    form: Form = Form.TENSORRT
    keep_float: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, int] = field(default_factory=dict)
    corrections: frozenset[Correction] = ALL
    allowance: Allowance = field(default_factory=Allowance)
    code_max: int | None = None
    float_results: frozenset[str] = frozenset()
    seed: int = 0


def placed(model: ir.Model, settings: QuantizeSettings, table: CalibrationTable | None) -> Placement:
    """Where Q/DQ go in the form asked for; ``table`` None: by structure alone."""
    if settings.form is Form.ONNXRUNTIME:
        code_max = largest_weight_code() if settings.code_max is None else settings.code_max
        return place_for_cpu(
            model,
            keep_float=settings.keep_float,
            costs=settings.costs,
            table=table,
            code_max=code_max,
            float_results=settings.float_results,
        )
    return place(model, form=settings.form, keep_float=settings.keep_float, costs=settings.costs, table=table)


def inserted(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    settled: Mapping[str, QuantizedWeight],
    scales: WeightScales,
) -> None:
    """Put the Q/DQ of ``placement`` into ``model``, in place, in its form; ``scales`` are those of plain rounding."""
    put = insert_for_cpu if placement.form is Form.ONNXRUNTIME else insert
    put(model, placement, table, weight_scales=scales, settled=settled)
