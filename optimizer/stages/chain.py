"""The chain of stages: each arrow of the architecture, in order, with its resumable record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.loadgen.settings import LoadgenResult
from benchmarks.report.model import ModelSummary, Report
from benchmarks.roofline.prediction import Prediction
from calibration.sources.observed import observed_shapes
from engines.manifest import MANIFEST_NAME, EngineManifest
from engines.profile import Shape, ShapeProfile, infer_profile
from engines.targets.target import CPU, Backend
from graphs.macs import count_macs, total_macs
from graphs.saving import save_model
from optimizer.bundle import Workspace
from optimizer.events import Events
from optimizer.stages.build import BuildOutcome, build_targets
from optimizer.stages.cleaning import clean_graph
from optimizer.stages.cpu import CpuChoice
from optimizer.stages.cpu_engine import built_cpu, make_cpu_engine
from optimizer.stages.data_check import LOOKED_AT, check_data
from optimizer.stages.forms import TypedForms
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.loadgen import measure_scenarios
from optimizer.stages.prediction import predict_targets
from optimizer.stages.publish import write_pages
from optimizer.stages.reporting import Findings, assemble
from optimizer.stages.resume import Stage, resumable
from optimizer.stages.shipping import ship_typed, shipped_on_cpu
from optimizer.stages.typed import type_and_prove

LARGEST_BATCH_BYTES = 64 << 20
LARGEST_BATCH = 32


def run_stages(job: Job, workspace: Workspace, events: Events) -> Report:
    """From the imported model to a finished workspace, ready to be published."""
    first = Stage("job", "", job.key)
    settings, bundle = job.settings, workspace.path

    checked = check_data(job.inputs)
    for warning in checked.warnings:
        events.warn("import", warning)

    stage = first.then("clean", "clean the graph")
    cleaned = resumable(stage, Cleaned, lambda: _clean(job, workspace.work, events), workspace, events)

    stage = stage.then("type", "calibrate, type the graph and prove it against FP32")
    forms = resumable(stage, TypedForms, lambda: _typed(job, cleaned, workspace, events), workspace, events)

    stage = stage.then("build", f"build engines for {', '.join(target.name for target in job.targets)}")
    builds = resumable(
        stage,
        list[BuildOutcome],
        lambda: build_targets(
            bundle / "model.onnx",
            job.targets,
            cleaned.profile,
            bundle,
            sparse_weights=forms.sparse,
            settings=settings,
            events=events,
            more_profiles=cleaned.more_profiles,
            typed=forms.typed,
            batching=job.inputs.batching,
            not_finite=forms.not_finite,
        ),
        workspace,
        events,
    )
    stage = stage.then("predict", "predict what the GPUs that are not here should reach")
    predictions = resumable(
        stage,
        dict[str, Prediction],
        lambda: predict_targets(
            bundle / "model.onnx",
            job.specs,
            cleaned.sample_shapes,
            job.targets,
            warn=lambda text: events.warn("predict", text),
        ),
        workspace,
        events,
    )
    cpu: CpuChoice | None = None
    if any(target.backend is Backend.ONNXRUNTIME for target in job.targets):
        stage = stage.then("cpu", "measure the CPU engine against FP32")
        cpu = resumable(stage, CpuChoice, lambda: make_cpu_engine(job, cleaned, forms, bundle), workspace, events)
        for note in cpu.notes:
            events.warn("cpu", note)
        builds = [*builds, built_cpu(bundle)]

    loadgen: dict[str, dict[str, LoadgenResult]] = {}
    if cpu is not None and settings.loadgen:
        stage = stage.then("loadgen", f"measure with MLPerf LoadGen: {', '.join(settings.loadgen)}")
        loadgen = resumable(
            stage,
            dict[str, dict[str, LoadgenResult]],
            lambda: {CPU.name: _measure(job, workspace, events)},
            workspace,
            events,
        )
    found = _findings(job, cleaned, forms, builds, cpu, loadgen, workspace, events)
    held_back = found.held_back + checked.held_back_note
    report = assemble(replace(found, predictions=predictions, held_back=held_back))
    write_pages(report, found.main.plan, cpu, bundle)
    return report


def _typed(job: Job, cleaned: Cleaned, workspace: Workspace, events: Events) -> TypedForms:
    return ship_typed(type_and_prove(job, cleaned, workspace, events), workspace.path)


def _clean(job: Job, work: Path, events: Events) -> Cleaned:
    clean, path = clean_graph(job, work, events), work / "float.onnx"
    save_model(clean.model, path)
    observed = _observed(job)
    sample = {name: shapes[-1] for name, shapes in observed.items()}  # attention weighs most in the longest
    largest = _largest_batch(job, sample)
    profile, *more = (infer_profile(job.specs, observed, given, max_batch=largest) for given in job.shape_profiles)
    for warning in _uncovered(job, observed, [profile, *more]):
        events.warn("clean", warning)
    costs = count_macs(clean.model, sample)
    return Cleaned(path, clean.reference, profile, sample, total_macs(costs), clean.notes, more)


def _observed(job: Job) -> dict[str, list[Shape]]:
    """The shapes in the data: of all of it where lengths vary: a plan takes none that its profile does not cover."""
    vary = any(isinstance(d, str) for spec in job.specs for d in (spec.shape[1:] if spec.batched else spec.shape))
    limit = None if vary else LOOKED_AT
    held_back, calibration = (observed_shapes(part, limit) for part in (job.inputs.held_back, job.inputs.calibration))
    both = {name: {*shapes, *held_back[name]} for name, shapes in calibration.items()}
    return {name: sorted(shapes, key=lambda shape: (math.prod(shape), shape)) for name, shapes in both.items()}


def _uncovered(job: Job, observed: Mapping[str, Sequence[Shape]], profiles: Sequence[ShapeProfile]) -> Iterator[str]:
    """Sentences on inputs of which no profile covers the largest shapes seen; a batch of one is no reason."""
    for spec in job.specs:
        ranges = [profile.inputs[spec.name] for profile in profiles if spec.name in profile.inputs]
        start = 1 if spec.batched else 0
        missing = [
            shape
            for shape in observed[spec.name]
            if ranges and not any(r.covers((*r.opt[:start], *shape[start:])) for r in ranges)
        ]
        if missing:
            yield f"{spec.name!r} is {'x'.join(map(str, missing[-1]))} in the data, which no --shape covers"


def _largest_batch(job: Job, sample: dict[str, Shape]) -> int:
    """As many samples as fit in 64 MiB of inputs, at most 32: a profile for 32 volumes would help nobody."""
    size = 0
    for spec in job.specs:
        elements = 1
        for dimension in sample[spec.name]:
            elements *= dimension
        size += elements * spec.numpy_dtype().itemsize
    return max(1, min(LARGEST_BATCH, LARGEST_BATCH_BYTES // max(size, 1)))


def _measure(job: Job, workspace: Workspace, events: Events) -> dict[str, LoadgenResult]:
    settings = job.settings
    return measure_scenarios(
        workspace.path, CPU.name, settings.loadgen, settings.duration, job.inputs.held_back, workspace.work, events
    )


def _findings(
    job: Job,
    cleaned: Cleaned,
    forms: TypedForms,
    builds: list[BuildOutcome],
    cpu: CpuChoice | None,
    loadgen: dict[str, dict[str, LoadgenResult]],
    workspace: Workspace,
    events: Events,
) -> Findings:
    from optimizer.machine import cpu_name

    imported = job.imported
    return Findings(
        model=ModelSummary(imported.path.name, imported.digest, imported.parameters, 2 * cleaned.macs, imported.bytes),
        requested=job.settings.precision.value,
        forms=forms,
        calibrated=job.inputs.calibrated,
        held_back=job.inputs.held_back.description,
        max_drop=job.settings.max_drop,
        targets=job.targets,
        builds={build.target: build for build in builds},
        cpu=cpu,
        on_cpu=shipped_on_cpu(forms, cpu) if cpu is not None else None,
        loadgen=loadgen,
        timings=events.timings,
        warnings=events.warnings,
        bundle=str(workspace.out),
        command=job.command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        calibration=_calibration(job, forms),
        machine={"cpu": cpu_name()},
        versions=job.tools,
        layers={path.parent.name: EngineManifest.load(path.parent).layers for path in _manifests(workspace.path)},
        flags=[f"--shape {shape}" for shape in job.settings.shapes],
    )


def _calibration(job: Job, forms: TypedForms) -> dict[str, str]:
    table = next((form.table for form in forms.all() if form.table is not None), None)
    if table is None:
        return {}
    return {
        "method": table.method,
        "samples": str(table.samples),
        "tensors": str(len(table.tensors)),
        "data": job.inputs.calibration.description,
    }


def _manifests(bundle: Path) -> list[Path]:
    return sorted(bundle.glob(f"engines/*/{MANIFEST_NAME}"))
