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

from calibration.source import SampleSource
from calibration.sources.kept import KeptSource
from calibration.sources.open import from_files
from engines.parallel import side_by_side
from graphs.digests import digest_of
from graphs.files import to_json
from graphs.reading.rounded import rounded_outputs
from graphs.storage.saving import SINGLE_FILE_BYTES, weight_bytes
from graphs.storage.stored import keeping_weights
from optimizer.events import Events
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.prepared import Prepared
from optimizer.search.narrowing import LOOKS
from optimizer.stages.forms.accuracy_check import AccuracyChecker
from optimizer.stages.forms.as_before import AsBefore
from optimizer.stages.forms.as_given import AsGiven
from optimizer.stages.forms.cpu_forms import CpuFormMaker
from optimizer.stages.forms.describing import Written
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.form_files import FormFiles
from optimizer.stages.forms.making import Making
from optimizer.stages.forms.siblings import SiblingGraph, sibling_graphs
from optimizer.stages.forms.sparse import sparse_graph
from optimizer.stages.forms.sparse import within_budget as affordable
from optimizer.stages.forms.tensorrt_form import TensorrtFormMaker
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
from optimizer.typed.high_precision import HighPrecision, Observed, high_dtype
from optimizer.typed.schemes import cpu_scheme, tensorrt_scheme

T = TypeVar("T")
Forms: TypeAlias = "dict[str, TypedForm | None]"
"""Some of the fields of ``TypedForms``, by name."""


class FormMaker:
    """Makes the forms that the targets of ``job`` run, and checks them; a context manager, for it holds FP32's engine.

    Each form is two stages: ``calibrate``, which knows no budget, and ``type``, which does not calibrate.
    """

    def __init__(
        self,
        job: Job,
        cleaned: Cleaned,
        runner: StageRunner,
        events: Events,
        written: Written = lambda path, computes_in: None,
    ) -> None:
        self._job, self._runner, self._events = job, runner, events
        self._settings, graph, before = job.settings, FloatGraph(job, cleaned), AsBefore(job, cleaned, runner, events)
        as_given = AsGiven(graph, job) if job.keeps_quantization else None
        self._making = Making(
            job, cleaned, graph, graph, before, as_given, lambda: self.checker, runner, events, written
        )
        self._scheme = before.scheme(tensorrt_scheme(job.settings.precision))
        self._cpu_scheme = before.scheme(cpu_scheme(job.settings.precision))
        self._prepared: dict[str, Prepared] = {}
        self._stack, self._observing = ExitStack(), Lock()
        self._ranges: Observed | None = None

    @property
    def _cleaned(self) -> Cleaned:
        return self._making.cleaned

    @property
    def _graph(self) -> FloatGraph:
        return self._making.graph

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
        if not kept and self._making.calibrates and not self._making.before.is_update:
            self._graph.known.expect(schemes)
        at_once = not kept and self._may_share_the_cores()
        if at_once and self._asks_the_user():
            at_once = False
            if self._making.calibrates:
                wanted = [scheme for scheme in (self._cpu_scheme, self._scheme) if scheme is not None]
                found = side_by_side([partial(self._making.prepared, scheme) for scheme in wanted])
                self._prepared |= {scheme.name: prepared for scheme, prepared in zip(wanted, found, strict=True)}
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
        cleaned = replace(self._cleaned, pruned=told)
        self._making = replace(self._making, cleaned=cleaned, graph=FloatGraph(self._job, cleaned, sparse))

    def siblings(self, computes_in: str) -> dict[str, SiblingGraph]:
        """More precise graphs of the model, to be measured beside one that ``computes_in`` less."""
        return sibling_graphs(self._job, self._cleaned, self._graph, computes_in, self._observed, self._runner)

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

    def _for_tensorrt(self, stage: Stage[TypedForm], stop: Event) -> Forms:
        prepared = self._prepared_for(stage, self._scheme, stop)
        observed = None if self._runner.available(stage) else self._observed(stop)

        def work(folder: Path) -> TypedForm:
            return TensorrtFormMaker(self._making, self._scheme, observed, FormFiles(folder)).made(prepared, stop)

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

        def work(folder: Path) -> CpuForms:
            return CpuFormMaker(self._making, self._cpu_scheme, FormFiles(folder)).made(prepared, stop)

        found = self._runner.run(stage, work, stop)
        fp32 = found.fp32
        if fp32 is not None and found.as_cleaned:
            fp32 = replace(fp32, path=self._cleaned.path)
        return {CPU_INT8: found.int8, CPU_FP32: fp32}

    def _typing(self, name: str, title: str, kind: type[T], scheme: Scheme | None) -> Stage[T]:
        """Its key names the calibration where there is one. A metric of the user's may read any file: what it said is
        never taken from another job.
        """
        made = scheme if self._making.calibrates else None
        quantized = [calibration_key(self._job, self._cleaned, made)] if made is not None else []
        quantized += [f"as given, {scheme!r}"] if self._making.as_given is not None else []
        scored = self._settings.evaluate is not None
        alone = scored and not needs_typed(self._job.targets, self._settings.precision)  # see CpuFormMaker
        key = typing_key(self._job, self._cleaned, f"{name}{', alone' if alone else ''}", *quantized)
        timed = self._settings.searches  # what this machine's time decides is not another's
        return Stage(f"type-{name}", title, kind, key, shared=not scored and not timed)

    def _prepared_for(self, stage: Stage[T], scheme: Scheme | None, stop: Event) -> Prepared | None:
        """A quantizable graph, where one was asked for and ``stage`` is still to run."""
        if scheme is None or not self._making.calibrates or self._runner.available(stage):
            return None
        found = self._prepared.pop(scheme.name, None) or self._making.prepared(scheme, stop)
        return self._making.following(found)

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
                rounded=rounded_outputs(self._job.imported.model),
                in_part=self._making.before.scores_in_part,
            )
        )


def _in_memory(source: SampleSource) -> bool:
    """Whether all samples are kept, read here where they are not yet: then no code of the user's is asked for them."""
    return isinstance(source, KeptSource) and source.keep_all()
