"""Forms of a model that came quantized, with its own scales and codes: nothing is calibrated, nothing rounded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple, TypeAlias

import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.reading.quantizers import pairs
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.prequantized.described import plan_of, table_of
from optimizer.prequantized.repair_check import RepairCheck
from optimizer.prequantized.repaired import (
    EXACT_ONNXRUNTIME,
    FLOAT_WHERE_ASYMMETRIC,
    ONNXRUNTIME,
    TENSORRT,
    Repairs,
    repaired,
)
from optimizer.settings.options import Precision
from optimizer.stages.forms.budget import as_near_as_any
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.job import Job

FEEDS = 4
"""Samples on which repairs are verified: what differs by structure differs on the first. Chosen."""


class Given(NamedTuple):
    """``model`` as a runtime takes it, not yet typed."""

    model: ir.Model
    plan: PrecisionPlan
    table: CalibrationTable


Check: TypeAlias = "Callable[[Given], TypedForm]"
"""Types a form and judges it."""


class AsGiven:
    """``graph`` must hold a quantized source."""

    def __init__(self, graph: FloatGraph, job: Job) -> None:
        self._graph, self._job = graph, job

    def for_tensorrt(self, check: Check, in_float: Callable[[None], TypedForm]) -> TypedForm:
        """The first form within budget, the fastest tried first: where the source has zero points that TensorRT
        refuses, ranges around zero, then float in their place; then, where a choice was left, nothing quantized.
        """
        settings = self._job.settings

        def forms() -> Iterator[TypedForm]:
            yield check(self._repaired(TENSORRT, Dtype.FP16))
            if any(not pair.symmetric for pair in pairs(self._source.graph)):
                yield check(self._repaired(FLOAT_WHERE_ASYMMETRIC, Dtype.FP16))
            if settings.precision is Precision.AUTO or settings.max_drop is not None:
                yield in_float(None)

        return first_within_budget(forms())

    def for_cpu(self, check: Check) -> TypedForm:
        """Likewise: with what ONNX Runtime's kernels need rounded, then number for number."""
        ways = (ONNXRUNTIME, EXACT_ONNXRUNTIME)
        return first_within_budget(check(self._repaired(repairs, Dtype.FP32)) for repairs in ways)

    @property
    def _source(self) -> ir.Model:
        assert self._graph.given is not None
        return self._graph.given

    @cached_property
    def _check(self) -> RepairCheck:
        return RepairCheck.of(self._source, list(islice(self._graph.joined(1), FEEDS)))

    def _repaired(self, repairs: Repairs, high: Dtype) -> Given:
        found = repaired(self._source, repairs, self._check)
        plan = plan_of(found.model, high, self._graph.costs)
        table = table_of(found.model, self._job.imported.digest)
        return Given(found.model, PrecisionPlan(plan.nodes, list(found.notes)), table)


def first_within_budget(forms: Iterable[TypedForm]) -> TypedForm:
    """The first form within budget; where none is, the first that is nearly as good as the best."""
    tried: list[TypedForm] = []
    for form in forms:
        if form.check.ok:
            return form
        tried.append(form)
    return [*as_near_as_any(tried, lambda form: form.check.drop), tried[-1]][0]
