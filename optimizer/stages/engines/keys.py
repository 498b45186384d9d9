"""What each stage reads that works on the forms or on their engines: keys as in ``optimizer.stages.keys``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.manifest import MANIFEST_NAME
from engines.targets.gpus_here import detect_gpus, used_gpu
from graphs.digests import sha256_file
from graphs.files import to_json
from graphs.storage.model_files import model_digest
from optimizer.machine import this_machine
from optimizer.stages.engines.record import EngineRecord
from optimizer.stages.forms.typed_forms import TypedForms
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import stage_key, updated


def building_key(job: Job, cleaned: Cleaned, forms: TypedForms) -> str:
    """The typed graph, targets, profiles and what concerns builds; the GPU at hand decides what ``native`` is."""
    typed = model_digest(forms.typed.path) if forms.typed is not None else ""
    asked = "builder_options", "build_time_limit", "build_memory_limit", "precision", "jobs"
    return stage_key(
        job,
        typed,
        to_json([cleaned.profile, cleaned.more_profiles, forms.not_finite, forms.sparse]),
        repr(job.inputs.batching),
        *(target.name for target in job.targets),
        *(gpu.name for gpu in detect_gpus()),
        job.settings.digest(*asked),
    )


def siblings_building_key(job: Job, cleaned: Cleaned, graphs: Mapping[str, Path], target: str) -> str:
    """The siblings' graphs, profiles, what concerns builds, and the GPU at hand."""
    return stage_key(
        job,
        *(f"{name}={model_digest(path)}" for name, path in graphs.items()),
        to_json([cleaned.profile, cleaned.more_profiles]),
        repr(job.inputs.batching),
        target,
        repr(used_gpu()),
        job.settings.digest("builder_options", "build_time_limit", "build_memory_limit", "sparsity"),
    )


def checking_key(job: Job, engines: Mapping[str, Path]) -> str:
    """The engines of every form, what they are judged on, by whom, by which budget, and the GPU that runs them."""
    return stage_key(
        job,
        *(f"{form}={sha256_file(folder / MANIFEST_NAME)}" for form, folder in engines.items()),
        job.inputs.held_back.digest,
        job.settings.digest("evaluate", "max_drop"),
        repr(used_gpu()),
    )


def measuring_key(job: Job, cleaned: Cleaned, checked: str, refused: Mapping[str, str]) -> str:
    """What the checks of the engines found, the forms that cannot ship, and the batch that they are timed at."""
    return stage_key(job, checked, to_json([cleaned.profile, dict(refused)]), job.settings.asked_gpu_form)


def prediction_key(job: Job, cleaned: Cleaned, forms: TypedForms) -> str:
    """The typed graph, the shapes of a sample, and targets."""
    typed = model_digest(forms.typed.path) if forms.typed is not None else ""
    return stage_key(job, typed, to_json([cleaned.sample_shapes, job.specs]), *(target.name for target in job.targets))


def measuring_cpu_key(job: Job, cleaned: Cleaned, forms: TypedForms) -> str:
    """The CPU's forms and checks, precision and form asked for, the first held-back sample, profile, this machine."""
    digests = [f"{name}={model_digest(form.path)}" for name, form in forms.on_cpu().items()]
    checks = [[form.check.ok, form.check.reasons] for form in forms.on_cpu().values()]
    return stage_key(
        job,
        *digests,
        to_json([checks, cleaned.profile]),
        job.inputs.held_back.digest,
        repr(job.inputs.batching),
        job.settings.asked_cpu_form,
        job.settings.digest("precision"),
        this_machine(),
        updated(job),
    )


def building_cpu_key(job: Job, cleaned: Cleaned, forms: TypedForms, record: EngineRecord) -> str:
    """What was measured of the form that ships, its graph, profile, and what else its manifest says."""
    shipped = forms.on_cpu()[record.form]
    return stage_key(
        job,
        to_json([record, cleaned.profile, forms.not_finite, job.inputs.not_finite]),
        model_digest(shipped.path),
        repr(job.inputs.batching),
        updated(job),
    )


def loadgen_key(job: Job, engines: Sequence[Path]) -> str:
    """The engines that run here, what they are fed, scenarios and their duration, and this machine."""
    return stage_key(
        job,
        *((engine / MANIFEST_NAME).read_bytes() for engine in engines),
        job.inputs.held_back.digest,
        job.settings.digest("loadgen", "duration"),
        this_machine(),
    )
