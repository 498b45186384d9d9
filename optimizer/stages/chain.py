"""The chain of stages: each arrow of the architecture, in order; what each reads stands in ``keys``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.loadgen.settings import LoadgenResult
from benchmarks.report.model import Report
from benchmarks.roofline.prediction import Prediction
from engines.stage_cache import StageCache
from engines.targets.target import CPU, Backend
from optimizer.bundle import Workspace
from optimizer.events import Events
from optimizer.stages import keys
from optimizer.stages.build import BuildOutcome, build_targets
from optimizer.stages.cleaning import clean
from optimizer.stages.cpu_engine import built_cpu, make_cpu_engine
from optimizer.stages.data_check import check_data
from optimizer.stages.findings import gathered
from optimizer.stages.forms import TypedForm, TypedForms
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.loadgen import measure_scenarios
from optimizer.stages.prediction import predict_targets
from optimizer.stages.publish import write_pages
from optimizer.stages.record import EngineRecord
from optimizer.stages.reporting import assemble
from optimizer.stages.runner import Stage, StageRunner
from optimizer.stages.shipping import ship, shipped_on_cpu
from optimizer.stages.typed import FormMaker


def run_stages(job: Job, workspace: Workspace, events: Events, *, afresh: bool = False) -> Report:
    """From the imported model to a finished workspace, ready to be published. ``afresh``: nothing is taken from what
    other jobs have left in the cache.
    """
    cache = StageCache()
    usable = None if cache.unusable() else cache
    runner = StageRunner(workspace, events, usable, afresh=afresh, subject=job.imported.path.name)
    checked = check_data(job.inputs)
    for warning in checked.warnings:
        events.warn("import", warning)

    stage = Stage("clean", "clean the graph", Cleaned, keys.cleaning_key(job), shared=True)
    cleaned = runner.run(stage, lambda folder: clean(job, folder, events))
    with FormMaker(job, cleaned, runner, events) as maker:
        forms = maker.forms()
    builds, predictions = _for_gpus(job, cleaned, forms, runner, workspace.path, events)
    records, shipped = dict[str, EngineRecord](), dict[str, TypedForm]()
    if any(target.backend is Backend.ONNXRUNTIME for target in job.targets):
        records[CPU.name] = _for_cpu(job, cleaned, forms, runner, workspace.path, events)
        shipped[CPU.name] = shipped_on_cpu(forms, records[CPU.name])
        builds = [*builds, built_cpu(workspace.path)]
    loadgen = _under_load(job, list(records), runner, workspace.path, events)
    held_back = job.inputs.held_back.description + checked.held_back_note
    found = gathered(job, cleaned, forms, builds, records, shipped, loadgen, predictions, held_back, workspace, events)
    report = assemble(found)
    write_pages(report, found.main.plan, records, workspace.path)
    ship(forms, records.get(CPU.name), workspace.path)
    return report


def _for_gpus(
    job: Job, cleaned: Cleaned, forms: TypedForms, runner: StageRunner, bundle: Path, events: Events
) -> tuple[list[BuildOutcome], dict[str, Prediction]]:
    """A plan and a prediction for every GPU target."""
    targets = [target for target in job.targets if target.backend is Backend.TENSORRT]
    if not targets or forms.typed is None:
        return [], {}
    typed = forms.typed
    title = f"build engines for {', '.join(target.name for target in targets)}"
    folders = tuple(bundle / "engines" / target.name for target in targets)
    key = keys.building_key(job, cleaned, forms)
    building = Stage("build", title, list[BuildOutcome], key, leaves=folders)
    builds = runner.run(
        building,
        lambda _: build_targets(
            typed.path,
            job.targets,
            cleaned.profile,
            bundle,
            sparse_weights=forms.sparse,
            settings=job.settings,
            events=events,
            more_profiles=cleaned.more_profiles,
            typed=typed,
            batching=job.inputs.batching,
            not_finite=(*forms.not_finite, *job.inputs.not_finite),
            held_back=job.inputs.held_back,
        ),
    )
    title = "predict what the GPUs that are not here should reach"
    predicting = Stage("predict", title, dict[str, Prediction], keys.prediction_key(job, cleaned, forms))
    predictions = runner.run(
        predicting,
        lambda _: predict_targets(
            typed.path,
            job.specs,
            cleaned.sample_shapes,
            targets,
            warn=lambda text: events.warn("predict", text),
        ),
    )
    return builds, predictions


def _for_cpu(
    job: Job, cleaned: Cleaned, forms: TypedForms, runner: StageRunner, bundle: Path, events: Events
) -> EngineRecord:
    title, key = "measure the CPU engine against FP32", keys.cpu_key(job, cleaned, forms)
    stage = Stage("cpu", title, EngineRecord, key, leaves=(bundle / "engines" / CPU.name,))
    cpu = runner.run(stage, lambda _: make_cpu_engine(job, cleaned, forms, bundle))
    for note in cpu.notes:
        events.warn("cpu", note)
    return cpu


def _under_load(
    job: Job, targets: Sequence[str], runner: StageRunner, bundle: Path, events: Events
) -> dict[str, dict[str, LoadgenResult]]:
    """Every scenario that was asked for, on every engine that runs here."""
    settings = job.settings
    if not settings.loadgen or not targets:
        return {}
    key = keys.loadgen_key(job, [bundle / "engines" / name for name in targets])
    title = f"measure with MLPerf LoadGen: {', '.join(settings.loadgen)}"
    stage = Stage("loadgen", title, dict[str, dict[str, LoadgenResult]], key, leaves=(bundle / "loadgen",))

    def work(folder: Path) -> dict[str, dict[str, LoadgenResult]]:
        return measure_scenarios(
            bundle, targets, settings.loadgen, settings.duration, job.inputs.held_back, folder, events
        )

    return runner.run(stage, work)
