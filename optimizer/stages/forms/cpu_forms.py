"""The forms of the CPU's engine: quantized for ONNX Runtime's kernels, and the float graph beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from threading import Event

import onnx_ir as ir

from optimizer.passes.number_types.signed_codes import UnsignedCodes
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.settings.options import Precision
from optimizer.stages.forms.budget import within_budget
from optimizer.stages.forms.describing import CPU_GRAPH
from optimizer.stages.forms.form_files import FormFiles
from optimizer.stages.forms.making import Making
from optimizer.stages.forms.mixing import cpu_maker, searches
from optimizer.stages.forms.typed_forms import CpuForms, TypedForm, needs_typed
from optimizer.typed.graph import GraphTyper, TypedGraph


class CpuFormMaker:
    """Makes the forms into ``files``; ``scheme`` is how one is quantized, None where it is not."""

    def __init__(self, making: Making, scheme: Scheme | None, files: FormFiles) -> None:
        self._making, self._scheme, self._files = making, scheme, files
        self._describe, self._settings = making.describe, making.job.settings
        self._alone = not needs_typed(making.job.targets, making.job.settings.precision)

    def made(self, prepared: Prepared | None, stop: Event) -> CpuForms:
        """The form of ``prepared``, where that has something in INT8, and FP32's, unless which is faster is known."""
        int8, why_not = None, None
        if prepared is not None and prepared.quantizes:
            int8, as_before = self._quantized(prepared, stop)
            if as_before and self._making.before.knows_cpu_form:
                return CpuForms(int8, None, as_cleaned=False)
        elif self._making.as_given is not None:
            int8 = self._making.as_given.for_cpu(
                lambda given: self._describe.checked(TypedGraph(*given), self._files, cpu=True)
            )
            self._files.keep(int8.path)
        elif prepared is not None:
            why_not = prepared.quantized(Allowance()).plan
        fp32 = self._float(why_not)
        return CpuForms(int8, fp32, as_cleaned=fp32.path == self._making.cleaned.path)

    def _quantized(self, prepared: Prepared, stop: Event) -> tuple[TypedForm, bool]:
        """The form of ``prepared``, and whether it is the one that an update keeps."""
        make = partial(self._typed, self._making.typer())
        found, before = self._making.as_before(prepared, partial(make, self._files), stop)
        assert found is not None
        if before is not None:
            form = before
            self._files.keep(form.path)
        elif searches(self._settings, found):
            maker = cpu_maker(self._making.job, self._making.cleaned, self._making.graph, found, make)
            form = self._files.taken(self._making.searched(found, maker))
        else:
            form = within_budget(found, partial(make, self._files), self._describe.say)
            self._files.keep(form.path)
        if self._alone:  # the graph that the bundle is about
            form = self._describe.drifted(form, found)
        self._describe.warn_of_the_plan(form)
        return self._making.before.told(form, self._scheme), before is not None

    def _typed(self, typer: GraphTyper, files: FormFiles, quantized: QuantizedModel) -> TypedForm:
        return self._describe.checked(typer.typed(quantized), files, cpu=True)

    def _float(self, why_not: PrecisionPlan | None) -> TypedForm:
        """The cleaned model, which the CPU's FP32 engine runs; data of its own that is int8 unsigned, but for a model
        whose quantization is left out. ``why_not`` says of each node why it is not in INT8.
        """
        cleaned, graph = self._making.cleaned, self._making.graph
        model, path = ir.load(cleaned.path), cleaned.path
        if graph.came_quantized and self._making.as_given is None:
            model, path = graph.model, self._files.saved(graph.model)
        elif UnsignedCodes().apply(model).modified:
            path = self._files.saved(model)
        fp32_asked = self._settings.precision is Precision.FP32
        reason = "asked for with --precision fp32" if fp32_asked else "the CPU's engine computes in FP32"
        plan = self._making.dense.plan(Dtype.FP32, reason)
        if why_not is not None:
            reasons = {name: node.reason for name, node in why_not.nodes.items()}
            nodes = {name: replace(node, reason=reasons.get(name, reason)) for name, node in plan.nodes.items()}
            plan = PrecisionPlan(nodes, [*plan.notes, *why_not.notes])
        self._describe.show("the float graph beside the model as given")
        check = self._making.checker().check_float(path, with_task=self._alone)  # else it is another form's
        return self._describe.described(path, TypedGraph(model, plan), check, CPU_GRAPH)
