"""From a float graph to a typed one, for whoever needs one: the pipeline, ``inspect``, studies.

``type_graph`` goes all the way with data, ``GraphTyper`` as often as a budget asks, ``type_by_structure`` without data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from engines.engine import Feed
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.passes.number_types.block_types import BlockTypes
from optimizer.passes.number_types.minimal_casts import MinimalCasts
from optimizer.passes.number_types.signed_codes import SignedCodes, UnsignedCodes
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.quantization.choices import Choices
from optimizer.quantization.insertion.biases import keep_biases_apart
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.placement.place import place
from optimizer.quantization.prepared import QuantizedModel
from optimizer.quantization.quantize import quantize
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.asked_plan import AskedPlan
from optimizer.settings.options import Precision
from optimizer.typed.high_precision import HALF_OF, HIGH_DTYPE, HighPrecision, Observed
from optimizer.typed.schemes import tensorrt_scheme

_UNIT_RANGE = TensorRange(-1.0, 1.0, -1.0, 1.0, 1.0, "none: only types matter here")


@dataclass(frozen=True)
class TypedGraph:
    """``table`` holds the ranges of its Q/DQ, None where it was not quantized; ``choices`` is how it was."""

    model: ir.Model
    plan: PrecisionPlan
    table: CalibrationTable | None = None
    choices: Choices | None = None


class GraphTyper:
    """Types copies of one float graph; what has to be observed of it is observed once.

    ``samples`` gives calibration feeds joined up to the number it is called with; ``costs`` are MACs per sample by
    node. ``asked`` is a plan that was given; quantized graphs follow it already (``Prepared.following``).
    """

    def __init__(
        self,
        model: ir.Model,
        precision: Precision,
        samples: Callable[[int], Iterable[Feed]],
        costs: Mapping[str, int],
        observed: Observed | None = None,
        asked: AskedPlan | None = None,
    ) -> None:
        self._model, self._precision, self._costs = model, precision, costs
        self._high = HighPrecision(model, precision, samples, costs, observed, asked)

    def typed(self, quantized: QuantizedModel | None, why: str = "") -> TypedGraph:
        """``quantized`` as its runtime takes it: for TensorRT with all that is not integer in high precision; the float
        graph in high precision where None, for the reason ``why``, by default that it was asked for.
        """
        if quantized is None:
            reason = why or f"asked for with --precision {self._precision.value}"
            return self._for_tensorrt(self._model.clone(), plan_in(self._model, self._high.dtype, reason, self._costs))
        model, plan = quantized.model.clone(), PrecisionPlan(quantized.plan.nodes, list(quantized.notes))
        if quantized.placement.scheme.on_cpu:
            UnsignedCodes().apply(model)
            return TypedGraph(model, plan, quantized.table, quantized.choices)
        return replace(self._for_tensorrt(model, plan, quantized.table), choices=quantized.choices)

    def as_given(self, model: ir.Model, plan: PrecisionPlan, table: CalibrationTable) -> TypedGraph:
        """A graph with Q/DQ of its own, which TensorRT takes, with all that is not integer in high precision."""
        high = {n: p if p.dtype.quantized else replace(p, dtype=self._high.dtype) for n, p in plan.nodes.items()}
        return self._for_tensorrt(model.clone(), PrecisionPlan(high, plan.notes), table)

    def _for_tensorrt(self, model: ir.Model, plan: PrecisionPlan, table: CalibrationTable | None = None) -> TypedGraph:
        model, plan = self._high.type(model, plan, table)
        MinimalCasts().apply(model)
        SignedCodes().apply(model)
        BlockTypes().apply(model)
        keep_biases_apart(model)
        return TypedGraph(model, plan, table)


def type_graph(
    model: ir.Model,
    precision: Precision,
    samples: Callable[[int], Iterable[Feed]],
    settings: QuantizeSettings,
    calibrator: Calibrator,
) -> TypedGraph:
    """Calibrate, quantize and type ``model`` at once, without a budget: what the main job's first attempt is.

    ``settings`` name the scheme and the costs; ``calibrator`` and ``samples`` give the same feeds. A precision that
    does not quantize needs neither ranges nor a calibrator's pass.
    """
    typer = GraphTyper(model, precision, samples, settings.costs)
    return typer.typed(quantize(model, calibrator, settings) if precision.quantized else None)


def type_by_structure(model: ir.Model, precision: Precision, costs: Mapping[str, int]) -> ir.Model:
    """A copy typed as for TensorRT with made-up ranges: right types, wrong numbers. Nothing is run."""
    copy = model.clone()
    placement = place(copy, scheme=tensorrt_scheme(precision), keep_float={}, costs=costs)
    if precision.quantized and placement.quantizes:
        ranges = {point.range_name: _UNIT_RANGE for point in placement.activations}
        insert(copy, placement, CalibrationTable(ranges, "none", 0, False, "", ""))
    if dtype := HALF_OF.get(HIGH_DTYPE[precision]):
        HalfPrecision(dtype).apply(copy)
        MinimalCasts().apply(copy)
    BlockTypes().apply(copy)
    return copy


def plan_in(model: ir.Model, dtype: Dtype, reason: str, costs: Mapping[str, int]) -> PrecisionPlan:
    """Every node of the main graph in ``dtype``."""
    return PrecisionPlan(
        {
            str(node.name): NodePrecision(dtype, reason, node.op_type, costs.get(str(node.name), 0))
            for node in model.graph
        }
    )
