"""The chain of stages: each arrow of the architecture, in order; what each reads stands in ``keys``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx_ir as ir

from benchmarks.loadgen.settings import LoadgenResult
from benchmarks.report.model import Report
from benchmarks.roofline.prediction import Prediction
from engines.build import build_engine
from engines.cache.stages import StageCache
from engines.targets.gpus_here import used_gpu
from engines.targets.target import CPU, Backend
from graphs.files import write_json
from graphs.reading.structure import Structure
from graphs.storage.model_files import model_bytes, model_digest
from graphs.storage.saving import SINGLE_FILE_BYTES, save_model
from graphs.writing.known_names import matched
from optimizer.bundle import MODEL, STRUCTURE, Workspace
from optimizer.events import Events
from optimizer.kept import Kept
from optimizer.stages import keys
from optimizer.stages.cleaning import clean
from optimizer.stages.data.data_check import check_data
from optimizer.stages.engines import keys as engine_keys
from optimizer.stages.engines.ahead import PlansAhead
from optimizer.stages.engines.baseline import BASELINE, baseline_here
from optimizer.stages.engines.build import BuildOutcome, Terms, build_targets, refuse_a_model_nobody_takes
from optimizer.stages.engines.cpu_engine import LASTS_S, build_cpu_engine, complete, measure_cpu_engine
from optimizer.stages.engines.loadgen import measure_scenarios
from optimizer.stages.engines.native import NativeEngines
from optimizer.stages.engines.record import EngineRecord, TargetEngine, measuring
from optimizer.stages.engines.runnable import runnable
from optimizer.stages.engines.shipping import ship, shipped_on_cpu
from optimizer.stages.forms.typed import FormMaker
from optimizer.stages.forms.typed_forms import TypedForms
from optimizer.stages.interface import change_data, change_graphs, changes_interface
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.report.findings import gathered
from optimizer.stages.report.node_costs import node_costs
from optimizer.stages.report.prediction import predict_targets
from optimizer.stages.report.publish import write_pages
from optimizer.stages.report.reporting import assemble
from optimizer.stages.report.searched import write_plans
from optimizer.stages.runner import Stage, StageRunner


def run_stages(job: Job, workspace: Workspace, events: Events, *, afresh: bool = False) -> Report:
    """From the imported model to a finished workspace, ready to be published. ``afresh``: nothing is taken from what
    other jobs have left in the cache.
    """
    cache = StageCache()
    usable = None if cache.unusable() else cache
    runner = StageRunner(workspace, events, usable, afresh=afresh, subject=job.imported.path.name)
    checked = check_data(job.inputs, quantizes=job.settings.quantizes)
    for warning in checked.warnings:
        events.warn("import", warning)

    stage = Stage("clean", "clean the graph", Cleaned, keys.cleaning_key(job), shared=True)
    cleaned = runner.run(stage, lambda folder: clean(job, folder, events))
    if job.kept is not None:
        cleaned = _named_as_before(job, job.kept, cleaned, runner)
    graph = cleaned.path
    if changes_interface(job):
        stage = Stage(
            "interface", "change the types of inputs and outputs", Cleaned, keys.interface_key(job), shared=True
        )
        cleaned = runner.run(stage, partial(change_graphs, job, cleaned))
        job = change_data(job)
    ahead = _plans_ahead(job, cleaned, runner, cached=usable is not None)
    with ahead, FormMaker(job, cleaned, runner, events, ahead.begin) as maker:
        forms = maker.forms()
        ahead.keep(forms.typed.path if forms.typed is not None else None)
        engines = _for_gpus(job, cleaned, forms, maker, runner, workspace.path, events)
    predictions = _predicted(job, cleaned, forms, runner, events)
    if any(target.backend is Backend.ONNXRUNTIME for target in job.targets):
        engines[CPU.name] = _for_cpu(job, cleaned, forms, runner, workspace.path, events)
    records = {name: engine.record for name, engine in engines.items() if engine.record is not None}
    folders = {name: engines[name].folder for name in records}
    loadgen = _under_load(job, {n: folder for n, folder in folders.items() if folder}, runner, workspace.path, events)
    held_back = job.inputs.held_back.description + checked.held_back_note
    found = gathered(job, cleaned, forms, engines, loadgen, predictions, held_back, workspace, events)
    report = assemble(found)
    write_plans(forms, workspace.path)
    write_json(workspace.path / STRUCTURE, Structure.of(ir.load(graph)))
    costs = node_costs(found.main, cleaned.sample_shapes, job.targets)
    write_pages(report, found.main.plan, costs, records, workspace.path)
    ship(forms, records.get(CPU.name), workspace.path)
    return report


def _named_as_before(job: Job, kept: Kept, cleaned: Cleaned, runner: StageRunner) -> Cleaned:
    """The cleaned graph with the names that plans and ranges of the updated bundle speak of. Raises ``BadInput`` where
    it is another graph.
    """
    model = ir.load(cleaned.path)
    names = matched(kept.structure, model, str(job.imported.path))
    if not names:
        return cleaned
    stage = Stage("match", f"give tensors the names they have in {kept.name}", Cleaned, keys.matching_key(job, cleaned))

    def work(folder: Path) -> Cleaned:
        names.apply(model)
        save_model(model, folder / MODEL)
        return replace(cleaned, path=folder / MODEL, digest=model_digest(folder / MODEL))

    return runner.run(stage, work)


def _plans_ahead(job: Job, cleaned: Cleaned, runner: StageRunner, *, cached: bool) -> PlansAhead:
    """Of an update, whose form is mostly within the budget; not where memory may be short, a GPU is used, plans are
    built elsewhere, or the build would not find them: nothing can be ``cached``, or is taken from there.
    """
    may = job.kept is not None and used_gpu() is None and job.builder is build_engine and cached and not runner.afresh
    may = may and not job.settings.sparsity.asked and model_bytes(cleaned.path) <= SINGLE_FILE_BYTES
    targets = [target for target in job.targets if target.backend is Backend.TENSORRT] if may else []
    return PlansAhead(targets, _terms(job, cleaned, runner, sparse=False))


def _terms(job: Job, cleaned: Cleaned, runner: StageRunner, *, sparse: bool, not_finite: Sequence[str] = ()) -> Terms:
    """On which plans are built."""
    return Terms(
        job.settings,
        cleaned.profile,
        sparse,
        job.inputs.held_back,
        tuple(cleaned.more_profiles),
        job.inputs.batching,
        (*not_finite, *job.inputs.not_finite),
        job.builder,
        runner.afresh,
    )


def _for_gpus(
    job: Job,
    cleaned: Cleaned,
    forms: TypedForms,
    maker: FormMaker,
    runner: StageRunner,
    bundle: Path,
    events: Events,
) -> dict[str, TargetEngine]:
    """By target: a plan for every GPU, and what became of it on the one that is here."""
    targets = [target for target in job.targets if target.backend is Backend.TENSORRT]
    if not targets or forms.typed is None:
        return {}
    stripped = job.settings.tensorrt_options.get("strip_plan") == "on"  # such a plan runs after a refit only
    typed, own = forms.typed, [] if stripped else runnable(targets, used_gpu())
    title = f"build engines for {', '.join(target.name for target in targets)}"
    folders = tuple(bundle / "engines" / target.name for target in targets if target not in own)
    building = Stage("build", title, list[BuildOutcome], engine_keys.building_key(job, cleaned, forms), leaves=folders)
    apart = {target.name: runner.folder(building) / target.name for target in own}
    terms = _terms(job, cleaned, runner, sparse=forms.sparse, not_finite=forms.not_finite)

    def build(_: Path) -> list[BuildOutcome]:
        return build_targets(typed.path, job.targets, bundle, terms=terms, events=events, typed=typed, apart=apart)

    built = runner.run(building, build)
    found = {made.target: TargetEngine(made) for made in built}
    engines = NativeEngines(job, cleaned, terms, maker, runner, bundle, events)
    for target in own:
        found[target.name] = engines.make(target, found[target.name].outcome, typed, apart[target.name])
    if len(targets) == len(job.targets):
        refuse_a_model_nobody_takes([engine.outcome for engine in found.values()])
    if own and baseline_here() and (beside := engines.baseline(typed)) is not None:
        found[BASELINE.name] = beside
    return found


def _predicted(
    job: Job, cleaned: Cleaned, forms: TypedForms, runner: StageRunner, events: Events
) -> dict[str, Prediction]:
    """A prediction for every GPU target, to stand in for a measurement or beside it."""
    targets = [target for target in job.targets if target.backend is Backend.TENSORRT]
    if not targets or forms.typed is None:
        return {}
    typed, title = forms.typed, "predict what the GPUs should reach"
    predicting = Stage("predict", title, dict[str, Prediction], engine_keys.prediction_key(job, cleaned, forms))
    return runner.run(
        predicting,
        lambda _: predict_targets(
            typed.path,
            job.specs,
            cleaned.sample_shapes,
            targets,
            warn=lambda text: events.warn("predict", text),
        ),
    )


def _for_cpu(
    job: Job, cleaned: Cleaned, forms: TypedForms, runner: StageRunner, bundle: Path, events: Events
) -> TargetEngine:
    timing = Stage(
        measuring(CPU),
        "measure the CPU engine against FP32",
        EngineRecord,
        engine_keys.measuring_cpu_key(job, cleaned, forms),
        shared=True,
        lasts_s=LASTS_S,
        worth_sharing=complete,
    )
    record = runner.run(timing, lambda _: measure_cpu_engine(job, cleaned, forms))
    for note in record.notes:
        events.warn(timing.name, note)
    folder, key = bundle / "engines" / CPU.name, engine_keys.building_cpu_key(job, cleaned, forms, record)
    stage = Stage("build-cpu", "place the CPU engine", BuildOutcome, key, leaves=(folder,))
    built = runner.run(stage, lambda _: build_cpu_engine(job, cleaned, forms, record, bundle))
    return TargetEngine(built, record, shipped_on_cpu(forms, record), folder=folder)


def _under_load(
    job: Job, engines: Mapping[str, Path], runner: StageRunner, bundle: Path, events: Events
) -> dict[str, dict[str, LoadgenResult]]:
    """Every scenario that was asked for, on every engine that runs here: ``engines`` are their folders by target."""
    settings = job.settings
    if not settings.loadgen or not engines:
        return {}
    key = engine_keys.loadgen_key(job, list(engines.values()))
    title = f"measure with MLPerf LoadGen: {', '.join(settings.loadgen)}"
    stage = Stage("loadgen", title, dict[str, dict[str, LoadgenResult]], key, leaves=(bundle / "loadgen",))

    def work(folder: Path) -> dict[str, dict[str, LoadgenResult]]:
        return measure_scenarios(
            bundle, engines, settings.loadgen, settings.duration, job.inputs.held_back, folder, events
        )

    return runner.run(stage, work)
