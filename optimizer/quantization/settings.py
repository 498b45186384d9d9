"""What is asked of a quantization, and the form in which that is placed and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from calibration.table import CalibrationTable
from optimizer.corrections import ALL, Correction
from optimizer.quantization.codes.scheme import TENSORRT, Scheme
from optimizer.quantization.codes.weights import QuantizedWeight, WeightScales
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.placement.place import place
from optimizer.quantization.placement.place_for_cpu import place_for_cpu


@dataclass(frozen=True)
class QuantizeSettings:
    """``corrections`` are those to make. ``keep_float`` maps node names to why they stay in high precision; ``costs``
    are MACs per sample by node name. ``allowance`` says how many of them may stay out of int8 for the error they cause
    (with integer results only where the model would be of no use otherwise). ``float_results`` are convolutions whose
    result a scheme with integer results writes in float. ``formats`` are schemes of nodes that have another than
    ``scheme``: FP8 beside INT8, weights alone beside both (not where results are integer).
    """

    scheme: Scheme = TENSORRT
    keep_float: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, int] = field(default_factory=dict)
    corrections: frozenset[Correction] = ALL
    allowance: Allowance = field(default_factory=Allowance)
    float_results: frozenset[str] = frozenset()
    seed: int = 0
    formats: Mapping[str, Scheme] = field(default_factory=dict)


def placed(model: ir.Model, settings: QuantizeSettings, table: CalibrationTable | None) -> Placement:
    """Where Q/DQ go in the form asked for; ``table`` None: by structure alone."""
    if settings.scheme.integer_results:
        return place_for_cpu(
            model,
            scheme=settings.scheme,
            keep_float=settings.keep_float,
            costs=settings.costs,
            table=table,
            float_results=settings.float_results,
        )
    return place(
        model,
        scheme=settings.scheme,
        keep_float=settings.keep_float,
        costs=settings.costs,
        table=table,
        formats=settings.formats,
    )


def inserted(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    settled: Mapping[str, QuantizedWeight],
    scales: WeightScales,
) -> None:
    """Put the Q/DQ of ``placement`` into ``model``, in place, in its form; ``scales`` are those of plain rounding."""
    insert(model, placement, table, weight_scales=scales, settled=settled)
