"""The pipeline: the stages in order, from a model file to a published bundle.

Every stage's result is recorded under a key that covers model, data, settings and library versions, so that an
interrupted run is taken up by the same command, and a finished one is recognised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.task_metric import check_evaluation
from benchmarks.report.model import read_report
from calibration.sources.open import check_given
from engines.build import Builder, build_engine
from engines.errors import EngineError
from engines.profile import parse_shape_profiles
from engines.targets.formats import check_precision
from engines.targets.gpus_here import targets_named
from engines.targets.target import Backend, Target
from graphs.errors import BadInput
from graphs.files import at_fault, unwritable
from graphs.writing.known_names import check_inputs
from optimizer.bundle import Bundle, BundleManifest, Workspace, finished_bundle
from optimizer.events import Events
from optimizer.finished import request_key
from optimizer.importing import import_model
from optimizer.kept import Kept
from optimizer.result import Result
from optimizer.settings.default_targets import default_targets
from optimizer.settings.job import Settings
from optimizer.settings.recorded import RecordedSettings
from optimizer.sparsity.targets import check_sparsity
from optimizer.stages.data.inputs import open_inputs
from optimizer.stages.engines.build import check_builder_options
from optimizer.stages.forms.typed_forms import needs_typed
from optimizer.stages.job import Job
from optimizer.version import tool_versions

UNCALIBRATED = (
    "no calibration data: INT8 ranges come from seeded synthetic inputs and the report is stamped uncalibrated; "
    "give representative inputs with --data"
)
UNJUDGED = (
    "no data: the model's own INT8 ranges are kept, but its accuracy is judged on seeded synthetic inputs; give "
    "representative inputs with --data"
)


@np.errstate(all="warn", under="ignore")  # numpy's defaults, whatever a notebook has set: what overflows is looked at
def run(
    path: Path,
    settings: Settings,
    out: Path,
    events: Events,
    *,
    force: bool = False,
    command: str = "",
    builder: Builder | None = None,
    kept: Kept | None = None,
) -> Result:
    """Take ``path`` through every stage; returns the report and the published bundle.

    A bundle that the same job has already left is returned as it is, unless ``force``. ``command`` is what
    the report shows for making it again; ``builder`` builds the engines that do not run here; ``kept`` is what the
    bundle keeps that is updated. Raises ``BadInput`` for
    anything the user can mend, and then leaves nothing behind.
    """
    Workspace(out, "").check_place()  # before minutes are spent on the way there
    with events.stage("import", "import the model"):
        job = replace(_prepare(path, settings, events, kept), command=command, builder=builder or build_engine)
    if not force and (bundle := finished_bundle(out, job.key)):
        events.note("import", f"{out} already holds this job's bundle; --force makes it again")
        return Result(read_report(bundle.path / "report.json"), bundle.path)
    workspace = Workspace(out, job.key)
    with workspace.opened(force):
        return _run_locked(job, workspace, events, force)


def _prepare(path: Path, settings: Settings, events: Events, kept: Kept | None) -> Job:
    asked = settings.targets or default_targets(warn=lambda text: events.warn("import", text))
    targets = targets_named(asked)
    check_precision(settings.precision.value, targets)
    if (plan := settings.plan) is not None:
        for planned in plan.dtypes:
            check_precision(planned.value, targets, plan.called)
    check_builder_options(settings, targets)
    for warning in _without_effect(settings, targets):
        events.warn("import", warning)
    dense = not (settings.quantizes or needs_typed(targets, settings.precision))
    for warning in check_sparsity(settings.sparsity, targets, dense=dense):
        events.warn("import", warning)
    shape_profiles = parse_shape_profiles(settings.shapes)
    for data in (settings.data, settings.eval_data):
        check_given(data)
    check_evaluation(settings.evaluate)
    imported = import_model(path)
    for note in imported.notes:
        events.note("import", note)
    if kept is not None:
        check_inputs(kept.structure, imported.model, str(path))
    inputs = open_inputs(settings, imported, shape_profiles[0])
    for note in inputs.notes:
        events.note("import", note)
    job = Job(imported, inputs.specs, inputs, settings, targets, shape_profiles, tool_versions(), kept=kept)
    if not inputs.calibrated and settings.quantizes:
        events.warn("import", UNJUDGED if job.keeps_quantization else UNCALIBRATED)
    return job


def _without_effect(settings: Settings, targets: Sequence[Target]) -> Iterator[str]:
    """Options that were given and that this job has no use for."""
    if settings.optimize_for != Settings.optimize_for and not settings.searches:
        yield f"--optimize-for {settings.optimize_for} has no effect: only --max-drop starts a search that it guides"
    if settings.builder_options and not any(target.backend is Backend.TENSORRT for target in targets):
        yield f"TensorRT's options have no effect on {targets[0].name}: {', '.join(settings.builder_options)}"


def _run_locked(job: Job, workspace: Workspace, events: Events, force: bool) -> Result:
    from optimizer.stages.blame import sample_at_fault
    from optimizer.stages.chain import run_stages  # half of the start-up, which a finished bundle need not wait for

    try:
        report = run_stages(job, workspace, events, afresh=force)
        request = request_key(job.imported.path, job.settings) if job.kept is None else ""
        return Result(report, _publish(job, workspace, request).path)
    except BadInput:
        workspace.discard()
        raise
    except EngineError as error:
        if (blamed := sample_at_fault(job)) is None:
            raise
        workspace.discard()
        raise blamed from error
    except OSError as error:
        workspace.discard()
        raise unwritable(at_fault(error, workspace.out), error) from error


def _publish(job: Job, workspace: Workspace, request: str) -> Bundle:
    digests = job.imported.digest, job.inputs.digest, job.settings.digest()
    settings = replace(job.settings, targets=job.settings.targets or tuple(target.name for target in job.targets))
    recorded = RecordedSettings.of(settings)
    return workspace.publish(BundleManifest(job.key, *digests, job.tools, request=request, settings=recorded))
