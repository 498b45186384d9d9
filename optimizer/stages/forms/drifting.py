"""Drift of a form: how far each of its results is from FP32, measured once, where float graph and samples are at hand.

It costs two sessions and a few samples; ``explain`` and the report's picture read it from the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import onnx_ir as ir

from benchmarks.batching import sample_count
from calibration.source import SampleSource, batches
from graphs.reading.shapes import activation_bytes
from graphs.storage.saving import SINGLE_FILE_BYTES, weight_bytes
from optimizer.attempt import attempt, omitted
from optimizer.precision import ErrorOrigin, PrecisionPlan
from optimizer.simulation.drift import Drift, measure_drift
from optimizer.stages.forms.typed_forms import TypedForm

SAMPLES = 4
"""Held-back samples that drift is measured on at most; chosen: every element of a result counts."""
READ_BYTES = 64 << 20
"""Results that are read of all of them, which is most of what it costs: one sample of MobileNetV2 has 54 MB."""
DRIFT_MACS = 1e11
"""Multiply-accumulates that those may take: some seconds on two cores. Chosen."""
_WHAT = "drift along the graph"


def with_drift(form: TypedForm, reference: ir.Model, held_back: SampleSource, costs: Mapping[str, int]) -> TypedForm:
    """``form``, whose plan tells how far each result is from that of ``reference``, the float graph it was made of.

    Where that takes too long or fails a note says so.
    """
    macs = max(sum(costs.values()), 1)
    if macs > DRIFT_MACS or weight_bytes(reference) > SINGLE_FILE_BYTES:
        reason = f"{macs / 1e9:.0f} billion multiply-accumulates and {weight_bytes(reference) / 1e6:.0f} MB of weights"
        return _noted(form, [omitted(_WHAT, reason)])
    samples = min(SAMPLES, int(DRIFT_MACS / macs), max(READ_BYTES // max(activation_bytes(reference), 1), 1))
    feeds = list(islice(batches(held_back.samples(), samples, held_back.specs), 1))
    if not feeds:
        return form
    samples = sample_count(held_back.specs, feeds[0])  # fewer where they do not join, or there are no more
    found, failed = attempt(_WHAT, lambda: measure_drift(reference, ir.load(form.path), feeds, samples), None)
    return _noted(form, failed) if found is None else replace(form, plan=_drifted(form.plan, found, samples))


def _noted(form: TypedForm, notes: list[str]) -> TypedForm:
    return replace(form, plan=replace(form.plan, notes=[*form.plan.notes, *notes]))


def _drifted(plan: PrecisionPlan, found: Drift, samples: int) -> PrecisionPlan:
    measured = {name: round(value, 2) for name, value in found.nodes.items()}
    nodes = {name: replace(node, drift_db=measured.get(name)) for name, node in plan.nodes.items()}
    return replace(plan, nodes=nodes, origin=_origin(found, samples))


def _origin(found: Drift, samples: int) -> ErrorOrigin | None:
    bad = found.first_bad
    if bad is None:
        return None
    return ErrorOrigin(
        output=found.output,
        sqnr_db=round(found.sqnr_db, 2),
        node=bad.node,
        op_type=bad.op_type,
        after_db=round(bad.value, 2),
        before_db=round(bad.before, 2) if bad.before < float("inf") else None,
        steep=bad.begins_here,
        samples=samples,
        measured=len(found.nodes),
        tensors=found.tensors,
    )
