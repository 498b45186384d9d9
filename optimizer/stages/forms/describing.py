"""What is said of a form once its graph is written: its accuracy, its plan, and how far each result is from FP32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from graphs.reading.macs import int8_share
from optimizer.bundle import MODEL
from optimizer.events import Detail, Events
from optimizer.quantization.prepared import Prepared
from optimizer.sparsity.claims import with_sparsity
from optimizer.stages.forms.accuracy_check import AccuracyCheck, AccuracyChecker, BackendForm
from optimizer.stages.forms.drifting import with_drift
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.form_files import FormFiles
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.job import Job
from optimizer.typed.graph import TypedGraph
from optimizer.typed.labels import with_given_int8

Written: TypeAlias = Callable[[Path, str], None]
STAGE = "type"
"""What both forms' stages are called in events."""
CPU_GRAPH = "the CPU's graph"
"""What the CPU's form is called where a plan that was given does not come true in it."""


class FormDescriber:
    """Of the forms of ``graph``, which ``dense`` is before it is pruned; ``checker`` opens FP32 when first asked.
    ``written`` hears of every graph for TensorRT that is to be checked, and what it computes in.
    """

    def __init__(
        self,
        job: Job,
        graph: FloatGraph,
        dense: FloatGraph,
        checker: Callable[[], AccuracyChecker],
        events: Events,
        written: Written,
    ) -> None:
        self._job, self._graph, self._dense, self._checker, self._events = job, graph, dense, checker, events
        self._written = written

    def checked(self, typed: TypedGraph, files: FormFiles, *, cpu: bool = False) -> TypedForm:
        path = files.saved(typed.model)
        if not cpu:
            self._written(path, typed.plan.computes_in)
        self.show("the INT8 graph for this CPU beside FP32" if cpu else "model.onnx beside FP32")
        check, form = self._checker().check(BackendForm(path, simulated=not cpu)), CPU_GRAPH if cpu else MODEL
        for line in check.accuracy.told_by_one_sample:
            self._events.warn(STAGE, f"{form}: {line}")
        return self.described(path, typed, check, form)

    def described(self, path: Path, typed: TypedGraph, check: AccuracyCheck, form: str) -> TypedForm:
        graph = self._dense if form == CPU_GRAPH and typed.table is None else self._graph
        written = ir.load(path)
        plan = with_given_int8(typed.plan, written)
        sparse, lost = with_sparsity(plan.nodes, graph.sparsity, written)
        for line in lost:
            self._events.warn(STAGE, line)
        plan = replace(plan, nodes=sparse, notes=list(dict.fromkeys([*graph.notes, *plan.notes, *lost])))
        asked = self._job.settings.plan
        followed = asked.followed(plan, form, halves=form != CPU_GRAPH) if asked is not None else None
        share = int8_share(written, self._graph.costs)
        return TypedForm(path, plan, share, check, typed.table, followed, choices=typed.choices)

    def drifted(self, form: TypedForm, prepared: Prepared | None) -> TypedForm:
        """``form`` with how far each of its results is from FP32."""
        self.show("how far each result is from FP32")
        reference = prepared.model if prepared is not None else self._graph.model
        return with_drift(form, reference, self._job.inputs.held_back, self._graph.costs)

    def warn_of_the_plan(self, form: TypedForm) -> None:
        """Say what of a plan that was given did not come true."""
        if form.followed is not None and form.followed.warning:
            self._events.warn(STAGE, form.followed.warning)

    def show(self, step: str) -> None:
        self._events.emit(Detail(STAGE, step))

    def say(self, text: str) -> None:
        self._events.note(STAGE, text)
