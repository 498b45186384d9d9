"""From a clean float graph and calibration samples to a quantized graph: the one entry point of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.capture import rough_table
from optimizer.quantization.corrections.concat_scale import EqualizeConcatBranches
from optimizer.quantization.corrections.conditioning import ConditionActivations
from optimizer.quantization.cpu_placement import place_for_cpu
from optimizer.quantization.cpu_qdq import insert_for_cpu
from optimizer.quantization.placement import place
from optimizer.quantization.points import Form, Placement
from optimizer.quantization.qdq import QuantizedWeight, insert
from optimizer.quantization.weights import mse_scales

Calibrate = Callable[[ir.Model, Sequence[str]], CalibrationTable]
"""Measures the ranges of the named activations of a model."""


@dataclass(frozen=True)
class QuantizeSettings:
    """``keep_float`` maps node names to why they stay in high precision; ``costs`` are MACs per sample by node name."""

    form: Form = Form.TENSORRT
    keep_float: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, int] = field(default_factory=dict)
    condition: bool = True
    seed: int = 0


@dataclass(frozen=True)
class QuantizedModel:
    """The graph with Q/DQ in it, and how it came about. ``placement.quantizes`` is False where nothing could be."""

    model: ir.Model
    placement: Placement
    plan: PrecisionPlan
    table: CalibrationTable
    notes: tuple[str, ...]


def quantize(
    model: ir.Model,
    samples: Iterable[Feed],
    calibrate: Calibrate,
    settings: QuantizeSettings | None = None,
) -> QuantizedModel:
    """Quantize a copy of ``model`` (its weights are shared, not copied) in the form ``settings.form``.

    ``samples`` are a few calibration feeds (8 to 32) that corrections measure on; they are iterated several times.
    ``calibrate`` is called once, with the graph as it will be quantized and the names of the activations to measure.
    """
    settings = settings or QuantizeSettings()
    work = model.clone()
    notes: list[str] = []
    if not _place(work, settings, None).tensors:
        return _nothing_to_do(work, settings)
    feeds = list(samples)
    notes.extend(_rewrite(work, feeds, settings))
    names = _place(work, settings, None).tensors
    table = calibrate(work, names)
    placement = _place(work, settings, table)
    _insert(work, placement, table, {})
    return QuantizedModel(work, placement, placement.plan, table, tuple(notes))


def _rewrite(model: ir.Model, feeds: Sequence[Feed], settings: QuantizeSettings) -> list[str]:
    """Exact changes to the float graph that make it easier to quantize."""
    names = _place(model, settings, None).tensors
    rough = rough_table(model, names, feeds)
    notes = list(EqualizeConcatBranches(rough).apply(model).notes)
    if settings.condition:
        points = place(model, form=Form.TENSORRT, keep_float=settings.keep_float).activations
        symmetric = settings.form is Form.TENSORRT
        notes += ConditionActivations(points, feeds, symmetric=symmetric, seed=settings.seed).apply(model).notes
    return notes


def _place(model: ir.Model, settings: QuantizeSettings, table: CalibrationTable | None) -> Placement:
    if settings.form is Form.ONNXRUNTIME:
        return place_for_cpu(model, keep_float=settings.keep_float, costs=settings.costs, table=table)
    return place(model, form=settings.form, keep_float=settings.keep_float, costs=settings.costs, table=table)


def _insert(
    model: ir.Model, placement: Placement, table: CalibrationTable, settled: Mapping[str, QuantizedWeight]
) -> None:
    put = insert_for_cpu if placement.form is Form.ONNXRUNTIME else insert
    put(model, placement, table, weight_scales=mse_scales, settled=settled)


def _nothing_to_do(model: ir.Model, settings: QuantizeSettings) -> QuantizedModel:
    placement = _place(model, settings, None)
    note = (
        "no node can be quantized: the model has no convolution or matrix product with constant weights of useful size"
    )
    empty = CalibrationTable({}, "none", 0, False, "", "", notes=[note])
    return QuantizedModel(model, replace(placement, notes=(note,)), placement.plan, empty, (note,))


HIGH_PRECISION = {Form.TENSORRT: Dtype.FP16, Form.ONNXRUNTIME: Dtype.FP32}
