"""Building every target's engine, several at a time, each in its own child process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from benchmarks.report.charts import load_charts
from calibration.source import SampleSource
from engines.build import Builder, BuildProgress, BuildRequest, build_engine
from engines.errors import BuildError, BuildFailure
from engines.feeds.batching import Batching
from engines.layers import SparseTactics
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from engines.targets.gpus_here import native_target
from engines.targets.target import Backend, Target
from engines.tensorrt.library import choose_library, load_library
from engines.tensorrt.options import check_options
from graphs.errors import BadInput
from optimizer.events import Detail, Events
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision
from optimizer.stages.forms.lowering import readable
from optimizer.stages.forms.typed_forms import TypedForm


@dataclass(frozen=True)
class BuildOutcome:
    """What became of one target: its engine, or why there is none."""

    target: str
    engine: str | None
    engine_bytes: int | None
    build_seconds: float | None
    backend: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    failure: BuildFailure | None = None
    sparse_tactics: SparseTactics | None = None

    @property
    def warning(self) -> str:
        """What is said the moment there is no engine; empty where there is one."""
        return "" if self.engine is not None else f"no {self.target} engine: {self.reason}"


@dataclass(frozen=True)
class Terms:
    """What all builds of a job have in common: see ``engines.build_request.BuildRequest``. Of ``settings``, what
    concerns builds is read: how many at a time, limits, TensorRT's options. Where a library takes another form of a
    graph, that is checked on ``held_back``. ``builder`` builds what does not run here; ``afresh``: nothing
    is taken from the engine cache.
    """

    settings: Settings
    profile: ShapeProfile
    sparse_weights: bool
    held_back: SampleSource
    more_profiles: tuple[ShapeProfile, ...] = ()
    batching: Batching | None = None
    not_finite: tuple[str, ...] = ()
    builder: Builder = build_engine
    afresh: bool = False

    def request(self, target: Target, model: Path, out: Path, precision: str) -> BuildRequest:
        """The build of one engine."""
        return BuildRequest(
            model=model,
            target=target,
            profile=self.profile,
            out=out,
            precision=precision,
            sparse_weights=self.sparse_weights and target.sparse_tensor_cores,
            more_profiles=self.more_profiles,
            options=self.settings.tensorrt_options,
            time_limit_s=self.settings.build_time_limit,
            memory_limit_mb=self.settings.build_memory_limit,
            batching=self.batching,
            not_finite=self.not_finite,
            afresh=self.afresh,
        )


_REFUSALS = (BuildFailure.UNSUPPORTED_OP, BuildFailure.UNSUPPORTED_TYPE, BuildFailure.SHAPE)


def build_targets(
    model: Path,
    targets: Sequence[Target],
    bundle: Path,
    *,
    terms: Terms,
    events: Events,
    typed: TypedForm | None = None,
    apart: Mapping[str, Path] | None = None,
) -> list[BuildOutcome]:
    """Build ``model`` for every GPU target into ``bundle/engines/<target>``; a refusal becomes the outcome's reason.
    The engines of targets in ``apart`` go to the folders given there: they run here, and which form ships is measured.

    ``typed`` is the form behind ``model``: it tells what that computes in (``auto`` and ``int8`` are wishes), and why a
    node that a target refuses has the type it has.
    """
    plan = typed.plan if typed is not None else None
    gpu = [target for target in targets if target.backend is Backend.TENSORRT]
    asked = terms.settings.precision
    precision = (plan.computes_in if plan is not None else "") or asked.value

    def build(target: Target, stop: Event) -> BuildOutcome:
        out = (apart or {}).get(target.name, bundle / "engines" / target.name)
        here = target.name in (apart or {})
        builder = build_engine if here else terms.builder
        return _build_one(
            terms.request(target, model, out, precision), builder, events, plan, stop, terms.held_back, asked
        )

    outcomes = _side_by_side(build, gpu, terms.settings.parallel_builds, meanwhile=load_charts)
    if len(gpu) == len(targets) and not apart:  # an engine that runs here may ship in a sibling of the graph
        refuse_a_model_nobody_takes(outcomes)
    return outcomes


def _side_by_side(
    build: Callable[[Target, Event], BuildOutcome],
    targets: Sequence[Target],
    at_once: int,
    meanwhile: Callable[[], None],
) -> list[BuildOutcome]:
    """The outcomes of all targets; ``meanwhile`` is done here while children build. What ends one build for good, and
    Ctrl-C, ends the others within a tick.
    """
    stop = Event()
    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        futures = [pool.submit(copy_context().run, build, target, stop) for target in targets]
        meanwhile()
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def check_builder_options(settings: Settings, targets: Sequence[Target]) -> None:
    """Raise ``BadInput`` for an option that a library which builds here does not know: before any work is done."""
    native = native_target()
    for target in targets if settings.builder_options else ():
        if target.backend is not Backend.TENSORRT:
            continue
        name = choose_library(target, native).name
        if name is not None:
            check_options(settings.tensorrt_options, load_library(name))


def refuse_a_model_nobody_takes(outcomes: Sequence[BuildOutcome]) -> None:
    """A graph that every asked target refuses is bad input; a library or GPU that is missing here is not."""
    if outcomes and all(outcome.failure in _REFUSALS for outcome in outcomes):
        names = ", ".join(outcome.target for outcome in outcomes)
        raise BadInput(f"no asked target takes this model ({names}): {outcomes[0].reason}")


def _build_one(
    request: BuildRequest,
    builder: Builder,
    events: Events,
    plan: PrecisionPlan | None,
    stop: Event,
    held_back: SampleSource,
    wanted: Precision,
) -> BuildOutcome:
    target = request.target

    def show(progress: BuildProgress) -> None:
        if stop.is_set():
            raise BuildError(BuildFailure.CANCELLED, "stopped with the job", where=f"target {target.name}")
        usual = f" ({progress.estimate})" if progress.estimate else ""
        events.emit(Detail("build", f"{target.name}: {progress.stage}  {progress.elapsed_s:.0f} s{usual}"))

    try:
        with readable(request, held_back, events) as taken:
            manifest = builder(taken, show)
    except BuildError as error:
        if error.failure is BuildFailure.CANCELLED:
            raise
        why = _why_not_half(error, plan)
        error.fix = _NOT_HALF if why and wanted is not Precision.FP32 else error.fix
        reason = f"{error}{why}"
        missing = BuildOutcome(target.name, None, None, None, Backend.TENSORRT.value, reason, failure=error.failure)
        events.warn("build", missing.warning)
        return missing
    for asked in manifest.ignored:
        events.warn("build", f"{target.name}: {asked}")
    for note in manifest.notes:
        events.note("build", f"{target.name}: {note}")
    return outcome(target.name, request.out, manifest)


_NOT_HALF = "build for a newer --target, or for cpu"
"""Where half precision was asked for and the plan has reasons against it, which are told."""


def _why_not_half(error: BuildError, plan: PrecisionPlan | None) -> str:
    """A line on why a node that a target refuses for its type is in FP32; empty where the plan does not say."""
    node = plan.nodes.get(error.where) if plan is not None else None
    if node is None or error.failure is not BuildFailure.UNSUPPORTED_TYPE or node.dtype is not Dtype.FP32:
        return ""
    return f"\nwhy: {error.where!r} is in FP32: {node.reason}"


def outcome(target: str, directory: Path, manifest: EngineManifest) -> BuildOutcome:
    """The record of a finished engine."""
    return BuildOutcome(
        target,
        f"engines/{directory.name}/{manifest.file}",
        manifest.bytes,
        manifest.build_seconds,
        manifest.backend,
        notes=(*manifest.ignored, *manifest.notes),
        sparse_tactics=manifest.sparse_tactics,
    )
