"""Typing the graph: the forms that the asked targets run, each checked against the model as given.

``model.onnx`` is what TensorRT builds from: INT8 Q/DQ, FP16 for the rest. The CPU engine has a Q/DQ form of its own.
Only forms that an asked target runs are made. Where one is over the accuracy budget, the nodes that hurt most are kept
in high precision and it is typed again (``budget.within_budget``); what took long is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event, Lock
from types import TracebackType
from typing import TypeAlias, TypeVar

import onnx_ir as ir

from calibration.source import SampleSource
from calibration.sources.kept import KeptSource
from calibration.sources.open import from_files
from engines.parallel import side_by_side
from graphs.block_quantizers import has_block_quantizers
from graphs.digests import digest_of
from graphs.files import to_json
from graphs.lint import lint
from graphs.saving import SINGLE_FILE_BYTES, weight_bytes
from graphs.stored import keeping_weights
from optimizer.events import Events
from optimizer.passes.signed_codes import UnsignedCodes
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.search.narrowing import LOOKS
from optimizer.settings import Precision
from optimizer.stages.forms.accuracy_check import AccuracyChecker
from optimizer.stages.forms.as_before import AsBefore
from optimizer.stages.forms.as_given import AsGiven
from optimizer.stages.forms.budget import within_budget
from optimizer.stages.forms.calibrated import calibrated
from optimizer.stages.forms.describing import CPU_GRAPH, STAGE, FormDescriber
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.form_files import FormFiles
from optimizer.stages.forms.mixing import cpu_maker, gpu_maker, searched, searches
from optimizer.stages.forms.searching import Maker
from optimizer.stages.forms.siblings import SiblingGraph, sibling_graphs
from optimizer.stages.forms.sparse import sparse_graph
from optimizer.stages.forms.sparse import within_budget as affordable
from optimizer.stages.forms.typed_forms import (
    CPU_FP32,
    CPU_INT8,
    TYPED,
    CpuForms,
    TypedForm,
    TypedForms,
    needs_cpu,
    needs_typed,
)
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import calibration_key, observing_key, typing_key
from optimizer.stages.runner import Stage, StageRunner
from optimizer.typed.graph import GraphTyper, TypedGraph
from optimizer.typed.high_precision import HighPrecision, Observed, high_dtype
from optimizer.typed.schemes import cpu_scheme, tensorrt_scheme

T = TypeVar("T")
Forms: TypeAlias = "dict[str, TypedForm | None]"
"""Some of the fields of ``TypedForms``, by name."""


class FormMaker:
    """Makes the forms that the targets of ``job`` run, and checks them; a context manager, for it holds FP32's engine.

    Each form is two stages: ``calibrate``, which knows no budget, and ``type``, which does not calibrate.
    """

    def __init__(self, job: Job, cleaned: Cleaned, runner: StageRunner, events: Events) -> None:
        self._job, self._cleaned, self._runner, self._events = job, cleaned, runner, events
        self._settings, self._dense = job.settings, FloatGraph(job, cleaned)
        self._graph = self._dense  # until it is pruned
        self._before = AsBefore(job, cleaned, runner, events)
        self._scheme = self._before.scheme(tensorrt_scheme(job.settings.precision))
        self._cpu_scheme = self._before.scheme(cpu_scheme(job.settings.precision))
        self._as_given = AsGiven(self._dense, job) if job.keeps_quantization else None
        self._prepared: dict[str, Prepared] = {}
        self._stack, self._observing = ExitStack(), Lock()
        self._ranges: Observed | None = None
        self._describe = FormDescriber(job, self._graph, self._dense, lambda: self.checker, events)

    def __enter__(self) -> FormMaker:
        self._stack.enter_context(keeping_weights())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def forms(self) -> TypedForms:
        """Every form that a target of the job runs."""
        for_gpus = needs_typed(self._job.targets, self._settings.precision)
        if self._settings.sparsity.asked and (for_gpus or self._settings.quantizes):
            self._prune()
        cpu = self._typing("cpu", "check the accuracy of the CPU's graphs", CpuForms, self._cpu_scheme)
        tensorrt = self._typing("tensorrt", "type the graph and check its accuracy", TypedForm, self._scheme)
        if self._settings.plan is not None:
            self._settings.plan.check_fits(self._graph.op_types)
        works = [partial(self._for_cpu, cpu)] if needs_cpu(self._job.targets) else []
        if for_gpus:
            works.append(partial(self._for_tensorrt, tensorrt))
        kept = len(works) < 2 or self._runner.available(cpu) or self._runner.available(tensorrt)
        schemes = [scheme for scheme in (self._cpu_scheme, self._scheme) if scheme is not None and scheme.calibrated]
        if not kept and self._calibrates and self._job.kept is None:
            self._graph.known.expect([scheme.static for scheme in schemes])
        at_once = not kept and self._may_share_the_cores()
        if at_once and self._asks_the_user():
            at_once = False
            if self._calibrates:
                wanted = [scheme for scheme in (self._cpu_scheme, self._scheme) if scheme is not None]
                calibrations = [partial(self._calibrate, scheme) for scheme in wanted]
                self._prepared |= dict(side_by_side(calibrations))
        made: Forms = {TYPED: None, CPU_INT8: None, CPU_FP32: None}
        if at_once:  # the CPU's form is the sooner one: what TensorRT's waits for then is done beside its calibration
            works = [partial(self._then_observe, works[0]), works[1]]
        for forms in side_by_side(works) if at_once else [work(Event()) for work in works]:
            made |= forms
        return TypedForms(made[TYPED], made[CPU_INT8], made[CPU_FP32])

    def _prune(self) -> None:
        """From here on the float graph is the pruned one."""
        sparse = sparse_graph(self._job, self._cleaned, self._runner, self._events)
        sparse = affordable(self._job, self._cleaned, sparse, lambda: self.checker, self._runner, self._events)
        told = digest_of((sparse.digest, to_json([sparse.nodes, sparse.notes])))
        self._cleaned = replace(self._cleaned, pruned=told)
        self._graph = FloatGraph(self._job, self._cleaned, sparse)
        self._describe = FormDescriber(self._job, self._graph, self._dense, lambda: self.checker, self._events)

    def siblings(self, computes_in: str) -> dict[str, SiblingGraph]:
        """More precise graphs of the model, to be measured beside one that ``computes_in`` less."""
        return sibling_graphs(self._job, self._cleaned, self._graph, computes_in, self._observed, self._runner)

    @property
    def _calibrates(self) -> bool:  # INT8 is asked for of a model that did not come in it
        return self._settings.quantizes and self._as_given is None

    def _may_share_the_cores(self) -> bool:
        """Whether both forms may be calibrated side by side, in threads: not where samples come from the user's code,
        which may be tied to the thread it began in, and are too many to be in memory, nor where weights are so large
        that their memory is not to be had twice.
        """
        if weight_bytes(self._graph.model) > SINGLE_FILE_BYTES:
            return False
        if not from_files(self._settings.data) and not _in_memory(self._job.inputs.calibration):
            return False
        with self._events.stage("reference", "run the model as given, in FP32"):
            _ = self._graph.costs, self.checker  # made before threads ask for them
        return True

    def _asks_the_user(self) -> bool:
        """Whether an accuracy check asks code of the user's: the metric, or samples that are held back."""
        if self._settings.evaluate is not None:
            return True
        held_back = self._settings.data if self._settings.eval_data is None else self._settings.eval_data
        return not from_files(held_back) and not _in_memory(self._job.inputs.held_back)

    def _calibrate(self, scheme: Scheme, stop: Event) -> tuple[str, Prepared]:
        return scheme.name, self._before.prepared(self._graph, scheme, stop) or self._calibrated(scheme, stop)

    def _calibrated(self, scheme: Scheme, stop: Event) -> Prepared:
        return calibrated(self._job, self._cleaned, self._graph, scheme, self._runner, self._events, stop)

    def _for_tensorrt(self, stage: Stage[TypedForm], stop: Event) -> Forms:
        prepared = self._prepared_for(stage, self._scheme, stop)
        observed = None if self._runner.available(stage) else self._observed(stop)

        def work(folder: Path) -> TypedForm:
            return self._typed(FormFiles(folder), prepared, observed, stop)

        return {TYPED: self._runner.run(stage, work, stop)}

    def _then_observe(self, work: Callable[[Event], Forms], stop: Event) -> Forms:
        """What ``work`` makes; then what TensorRT's form needs observed is."""
        forms = work(stop)
        if not stop.is_set():
            self._observed(stop)
        return forms

    def _observed(self, stop: Event | None = None) -> Observed | None:
        """How far every activation reaches, which decides what stays FP32: for any budget, in INT8 or FP16."""
        precision, graph, asked = self._settings.precision, self._graph, self._settings.plan
        if high_dtype(precision, graph.model, asked) is not Dtype.FP16:
            return None
        key = observing_key(self._job, self._cleaned)
        stage = Stage("observe", "observe the ranges of all activations", Observed, key, shared=True)

        def work(_: Path) -> Observed:
            return HighPrecision(graph.model, precision, graph.joined, graph.costs, asked=asked).observe()

        with self._observing:
            if self._ranges is None:
                self._ranges = self._runner.run(stage, work, stop)
            return self._ranges

    def _for_cpu(self, stage: Stage[CpuForms], stop: Event) -> Forms:
        prepared = self._prepared_for(stage, self._cpu_scheme, stop)
        found = self._runner.run(stage, lambda folder: self._cpu_forms(FormFiles(folder), prepared, stop), stop)
        fp32 = found.fp32
        if fp32 is not None and found.as_cleaned:
            fp32 = replace(fp32, path=self._cleaned.path)
        return {CPU_INT8: found.int8, CPU_FP32: fp32}

    def _typing(self, name: str, title: str, kind: type[T], scheme: Scheme | None) -> Stage[T]:
        """Its key names the calibration where there is one. A metric of the user's may read any file: what it said is
        never taken from another job.
        """
        made = scheme if self._calibrates else None
        quantized = [calibration_key(self._job, self._cleaned, made)] if made is not None else []
        quantized += [f"as given, {scheme!r}"] if self._as_given is not None else []
        scored = self._settings.evaluate is not None
        alone = scored and not needs_typed(self._job.targets, self._settings.precision)  # see _cpu_float
        key = typing_key(self._job, self._cleaned, f"{name}{', alone' if alone else ''}", *quantized)
        timed = self._settings.searches  # what this machine's time decides is not another's
        return Stage(f"type-{name}", title, kind, key, shared=not scored and not timed)

    def _prepared_for(self, stage: Stage[T], scheme: Scheme | None, stop: Event) -> Prepared | None:
        """A quantizable graph, where one was asked for and ``stage`` is still to run."""
        if scheme is None or not self._calibrates or self._runner.available(stage):
            return None
        found = self._prepared.pop(scheme.name) if scheme.name in self._prepared else self._calibrate(scheme, stop)[1]
        return self._following(found)

    def _following(self, found: Prepared) -> Prepared:
        """``found`` by the plan, where one was given."""
        asked, precision = self._settings.plan, self._settings.precision
        unnamed = "" if precision.quantized else f"asked for with --precision {precision.value}"
        return found if asked is None else found.following(asked, unnamed)

    def _typed(self, files: FormFiles, prepared: Prepared | None, observed: Observed | None, stop: Event) -> TypedForm:
        """TensorRT's form: quantized where asked, and within budget where ``auto`` leaves a choice."""
        typer = self._typer(observed)
        make = partial(self._typed_form, typer, files)
        prepared, before = self._as_before(prepared, make, stop)
        if before is not None:
            form = before
            files.keep(form.path)
        elif prepared is not None and searches(self._settings, prepared):
            maker = gpu_maker(self._job, self._cleaned, self._graph, prepared, typer, self._typed_form)
            form = files.taken(self._searched(prepared, maker))
        elif self._as_given is not None:
            form = self._as_given.for_tensorrt(
                lambda given: self._describe.checked(typer.as_given(*given), files), make
            )
            files.keep(form.path)
        else:
            form = (
                within_budget(prepared, make, self._describe.say)
                if prepared is not None
                else make(None, self._before.why_float)
            )
            if not form.check.ok and self._settings.precision is Precision.AUTO and self._settings.plan is None:
                form = make(None)
            files.keep(form.path)
        for finding in lint(ir.load(form.path)):
            self._events.warn(STAGE, f"{finding.where}: {finding.message} ({finding.rule.value})")
        form = self._before.told(self._describe.drifted(form, prepared), self._scheme)
        self._describe.warn_of_the_plan(form)
        plain = form.table is not None and not has_block_quantizers(ir.load(form.path))  # those TensorRT alone runs
        if plain and (differs := self.checker.plain_difference(form.path)):
            self._events.warn(STAGE, differs)
        return form

    def _typed_form(
        self, typer: GraphTyper, files: FormFiles, quantized: QuantizedModel | None, why: str = ""
    ) -> TypedForm:
        """What ``typer`` makes of ``quantized``, and its accuracy check."""
        return self._describe.checked(typer.typed(quantized, why), files)

    def _as_before(
        self, prepared: Prepared | None, make: Callable[[QuantizedModel], TypedForm], stop: Event
    ) -> tuple[Prepared | None, TypedForm | None]:
        """Of an update the form by what its bundle keeps; where that is over the budget none, and what is prepared anew
        in place of ``prepared``.
        """
        if prepared is None or not prepared.again:
            return prepared, None
        if (form := self._before.form(prepared, make)) is not None:
            return prepared, form
        return self._following(self._calibrated(prepared.settings.scheme, stop)), None

    def _cpu_int8(self, typer: GraphTyper, files: FormFiles, quantized: QuantizedModel) -> TypedForm:
        return self._describe.checked(typer.typed(quantized), files, cpu=True)

    def _cpu_forms(self, files: FormFiles, prepared: Prepared | None, stop: Event) -> CpuForms:
        int8, why_not = None, None
        if prepared is not None and prepared.quantizes:
            make = partial(self._cpu_int8, self._typer())
            prepared, before = self._as_before(prepared, partial(make, files), stop)
            assert prepared is not None
            if before is not None:
                int8 = before
                files.keep(int8.path)
            elif searches(self._settings, prepared):
                maker = cpu_maker(self._job, self._cleaned, self._graph, prepared, make)
                int8 = files.taken(self._searched(prepared, maker))
            else:
                int8 = within_budget(prepared, partial(make, files), self._describe.say)
                files.keep(int8.path)
            if not needs_typed(self._job.targets, self._settings.precision):  # the graph that the bundle is about
                int8 = self._describe.drifted(int8, prepared)
            self._describe.warn_of_the_plan(int8)
            int8 = self._before.told(int8, self._cpu_scheme)
            if before is not None and self._before.knows_cpu_form:
                return CpuForms(int8, None, as_cleaned=False)  # which form is faster is known
        elif self._as_given is not None:
            int8 = self._as_given.for_cpu(lambda given: self._describe.checked(TypedGraph(*given), files, cpu=True))
            files.keep(int8.path)
        elif prepared is not None:
            why_not = prepared.quantized(Allowance()).plan
        fp32 = self._cpu_float(files, why_not)
        return CpuForms(int8, fp32, as_cleaned=fp32.path == self._cleaned.path)

    def _cpu_float(self, files: FormFiles, why_not: PrecisionPlan | None) -> TypedForm:
        """The cleaned model, which the CPU's FP32 engine runs; data of its own that is int8 unsigned, but for a model
        whose quantization is left out. ``why_not`` says of each node why it is not in INT8.
        """
        model, path = ir.load(self._cleaned.path), self._cleaned.path
        if self._graph.came_quantized and self._as_given is None:
            model, path = self._graph.model, files.saved(self._graph.model)
        elif UnsignedCodes().apply(model).modified:
            path = files.saved(model)
        asked = self._settings.precision
        reason = "asked for with --precision fp32" if asked is Precision.FP32 else "the CPU's engine computes in FP32"
        plan = self._dense.plan(Dtype.FP32, reason)
        if why_not is not None:
            reasons = {name: node.reason for name, node in why_not.nodes.items()}
            nodes = {name: replace(node, reason=reasons.get(name, reason)) for name, node in plan.nodes.items()}
            plan = PrecisionPlan(nodes, [*plan.notes, *why_not.notes])
        self._describe.show("the float graph beside the model as given")
        alone = not needs_typed(self._job.targets, asked)  # else the report's metric is another form's
        check = self.checker.check_float(path, with_task=alone)
        return self._describe.described(path, TypedGraph(model, plan), check, CPU_GRAPH)

    def _searched(self, prepared: Prepared, maker: Maker) -> TypedForm:
        return searched(self._job, self._cleaned, self._runner, self._events, STAGE, prepared, maker)

    def _typer(self, observed: Observed | None = None) -> GraphTyper:
        graph, settings = self._graph, self._settings
        return GraphTyper(graph.model, settings.precision, graph.joined, graph.costs, observed, settings.plan)

    @cached_property
    def checker(self) -> AccuracyChecker:
        """FP32 and its answers; opened when it is first asked for."""
        settings, reference = self._settings, self._cleaned.reference or self._job.imported.path
        return self._stack.enter_context(
            AccuracyChecker(
                reference,
                self._job.inputs.held_back,
                settings.evaluate,
                settings.allowed_drop,
                looks=LOOKS if settings.searches else int(settings.max_drop is not None),
                batching=self._job.inputs.batching,
            )
        )


def _in_memory(source: SampleSource) -> bool:
    """Whether all samples are kept, read here where they are not yet: then no code of the user's is asked for them."""
    return isinstance(source, KeptSource) and source.keep_all()
