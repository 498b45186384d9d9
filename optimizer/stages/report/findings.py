"""Gathering what the stages found out for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.loadgen.settings import LoadgenResult
from benchmarks.measurement import utc_now
from benchmarks.report.model import ModelSummary
from benchmarks.report.updated import UpdateSummary
from benchmarks.roofline.prediction import Prediction
from calibration.table import FROM_SOURCE
from engines.layers import LayerInfo
from engines.manifest import MANIFEST_NAME, EngineManifest
from engines.targets.target import CPU, Target
from optimizer.bundle import MODEL, Workspace
from optimizer.events import Events
from optimizer.machine import cpu_name
from optimizer.stages.engines.as_before import cpu_as_before
from optimizer.stages.engines.build import BuildOutcome
from optimizer.stages.engines.record import EngineRecord, TargetEngine
from optimizer.stages.forms.typed_forms import TypedForm, TypedForms
from optimizer.stages.job import Cleaned, Job


@dataclass(frozen=True)
class Findings:
    """All that a run found out, stage by stage. ``records`` are of the targets that run here, by name; ``shipped`` says
    for each of them which form its engine ships in, ``not_run`` of one whose engine does not why.
    ``baselines`` are what nobody asked for, measured to compare with; plans of ``stripped`` hold no weights.
    """

    model: ModelSummary
    requested: str
    forms: TypedForms
    calibrated: bool
    held_back: str
    max_drop: float
    targets: Sequence[Target]
    builds: Mapping[str, BuildOutcome]
    records: Mapping[str, EngineRecord]
    shipped: Mapping[str, TypedForm]
    loadgen: Mapping[str, Mapping[str, LoadgenResult]]
    timings: Mapping[str, float]
    kept: Sequence[str]
    warnings: Sequence[str]
    bundle: str
    budget_given: bool = False
    command: str = ""
    created: str = ""
    calibration: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, Sequence[LayerInfo]] = field(default_factory=dict)
    flags: Sequence[str] = ()
    predictions: Mapping[str, Prediction] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)
    baselines: Sequence[Target] = ()
    stripped: Sequence[str] = ()
    update: UpdateSummary | None = None

    @property
    def main(self) -> TypedForm:
        """The form of ``model.onnx``, which precision and accuracy of the report are those of."""
        return self.forms.main(self.shipped)


def gathered(
    job: Job,
    cleaned: Cleaned,
    forms: TypedForms,
    engines: Mapping[str, TargetEngine],
    loadgen: Mapping[str, Mapping[str, LoadgenResult]],
    predictions: Mapping[str, Prediction],
    held_back: str,
    workspace: Workspace,
    events: Events,
) -> Findings:
    """Everything a report is made of: ``engines`` by target; ``held_back`` says where the samples came from that
    accuracy is judged on.
    """
    imported, manifests = job.imported, _manifests(workspace.path)
    return Findings(
        model=ModelSummary(
            imported.path.name,
            imported.digest,
            imported.parameters,
            2 * cleaned.macs,
            imported.bytes,
            _quantization(job),
        ),
        requested=job.settings.precision.value,
        forms=forms,
        calibrated=job.inputs.calibrated and not job.keeps_quantization,
        held_back=held_back,
        predictions=predictions,
        max_drop=job.settings.allowed_drop,
        budget_given=job.settings.max_drop is not None,
        targets=job.targets,
        builds={name: engine.outcome for name, engine in engines.items()},
        records={name: engine.record for name, engine in engines.items() if engine.record is not None},
        shipped={name: engine.form for name, engine in engines.items() if engine.form is not None},
        not_run={name: engine.reason for name, engine in engines.items() if engine.reason},
        baselines=[engine.target for engine in engines.values() if engine.target is not None],
        loadgen=loadgen,
        timings=events.timings,
        kept=events.kept,
        warnings=events.warnings,
        bundle=str(workspace.out),
        command=job.command,
        created=utc_now(),
        calibration=_calibration(job, forms),
        machine={"cpu": cpu_name()},
        versions=job.tools,
        layers={name: manifest.layers for name, manifest in manifests.items()},
        stripped=[name for name, manifest in manifests.items() if manifest.has("strip_plan")],
        flags=[f"--shape {shape}" for shape in job.settings.shapes],
        update=_update(job, forms),
    )


def _update(job: Job, forms: TypedForms) -> UpdateSummary | None:
    kept = job.kept
    if kept is None:
        return None
    of = {MODEL: forms.typed, CPU.name: forms.int8}
    calibration = {name: form.before for name, form in of.items() if form is not None and form.before is not None}
    why = kept.cpu_why if cpu_as_before(job, forms) else ""
    return UpdateSummary(kept.name, kept.model_digest, round(kept.seconds, 3), kept.here, calibration, why)


def _quantization(job: Job) -> str:
    """What the model came quantized in, and whether it is still; empty for a float model."""
    found = job.imported.quantization
    if found is None:
        return ""
    told = found.told()
    if not found.static:
        return told
    return f"{told}: kept" if job.keeps_quantization else job.left_out([f"{told}: left out"])[0]


def _calibration(job: Job, forms: TypedForms) -> dict[str, str]:
    table = next((form.table for form in forms.all() if form.table is not None), None)
    if table is None:
        return {}
    return {
        "method": table.method,
        "samples": str(table.samples),
        "tensors": str(len(table.tensors)),
        "data": "" if table.method == FROM_SOURCE else job.inputs.calibration.description,
    }


def _manifests(bundle: Path) -> dict[str, EngineManifest]:
    """By target."""
    found = sorted(bundle.glob(f"engines/*/{MANIFEST_NAME}"))
    return {path.parent.name: EngineManifest.load(path.parent) for path in found}
