"""Which ops' error is measured, each alone, and on how many samples: within what a job can afford."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from engines.engine import Feed
from optimizer.precision import Dtype
from optimizer.quantization.choosing.candidates import Candidate
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.corrections.cpu_costs import felt_costs
from optimizer.quantization.corrections.fallback import CHEAP, FEW, cheap_ops
from optimizer.quantization.corrections.sensitivity import Sensitivity, measure, sample_count
from optimizer.quantization.observing.sampling import spread
from optimizer.quantization.placement.place import place
from optimizer.quantization.settings import QuantizeSettings

SWEPT_MACS = 2e12
"""Multiply-accumulates a sensitivity sweep may take; beyond, none is left in high precision. Chosen."""
FEW_SWEPT_MACS = 2e10
"""And one of the ops that the CPU's form may leave out, once each; beyond, only the cheapest are looked at. Chosen."""


def measure_all(
    model: ir.Model, chosen: Candidate, feeds: Sequence[Feed], settings: QuantizeSettings
) -> list[Sensitivity]:
    """The error of each op in int8, as TensorRT would place it; nothing where that takes too long."""
    total, placement = sum(settings.costs.values()), chosen.placement
    if settings.scheme.integer_results:
        placement = place(model, scheme=TENSORRT, keep_float=settings.keep_float, costs=settings.costs)
    if not all(point.range_name in chosen.table.tensors for point in placement.activations):
        return []
    ops = len(placement.weights)
    if not placement.quantizes or ops * total > SWEPT_MACS:
        return []
    some = spread(feeds, sample_count(ops, total, len(feeds)))
    return measure(model, placement, chosen.table, some, settled=chosen.settled, scales=chosen.scales)


def measure_as_needed(
    model: ir.Model, chosen: Candidate, feeds: Sequence[Feed], settings: QuantizeSettings
) -> list[Sensitivity]:
    """The error of each op in int8, the others in float; nothing where that takes too long.

    Where the form for the CPU is of use as it is, only of ops that cost next to nothing. Where it is not, as TensorRT
    would place it: the same ops ruin a model.
    """
    if not (settings.scheme.integer_results and chosen.usable):
        return measure_all(model, chosen, feeds, settings)
    total, placement = sum(settings.costs.values()), chosen.placement
    integer = {name for name, node in placement.plan.nodes.items() if node.dtype is Dtype.INT8}
    felt = felt_costs(model, placement, settings.costs)
    among = cheap_ops(felt, FEW, total) & integer
    if len(among) * total > FEW_SWEPT_MACS:
        among = cheap_ops(felt, CHEAP, total) & integer
    work = len(among) * total
    if not among or not placement.quantizes or work > SWEPT_MACS:
        return []
    count = sample_count(len(among), total, len(feeds))
    some = spread(feeds, max(min(count, int(FEW_SWEPT_MACS / work)), 1))
    return measure(model, placement, chosen.table, some, settled=chosen.settled, scales=chosen.scales, among=among)
