"""What each stage reads, in one place: its key is a digest of that, and of nothing else.

What every stage depends on beside: library versions and this program's code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.manifest import MANIFEST_NAME
from engines.targets.gpus_here import detect_gpus, used_gpu
from graphs.digests import digest_of, sha256_file
from graphs.files import to_json
from graphs.model_files import model_digest
from optimizer.machine import cpu_name
from optimizer.quantization.scheme import Scheme
from optimizer.stages.forms.typed_forms import TypedForms
from optimizer.stages.job import Cleaned, Job
from optimizer.typed.schemes import planned_formats
from optimizer.version import code_digest


def cleaning_key(job: Job) -> str:
    """The model, the first samples (the graph is run on them), all shapes in the data, and profiles asked for."""
    return _key(
        job,
        job.imported.digest,
        job.inputs.calibration.digest,
        job.inputs.held_back.digest,
        repr(job.inputs.batching),
        job.settings.digest("shapes"),
    )


def sparsity_key(job: Job, cleaned: Cleaned) -> str:
    """The float graph, the calibration samples it is pruned on, and what is left out."""
    return _key(
        job,
        "sparsify",
        cleaned.digest,
        to_json(cleaned.sample_shapes),
        job.inputs.calibration.digest,
        str(job.inputs.calibrated),
        repr(job.inputs.batching),
        job.settings.digest("seed", "without"),
    )


def sparse_budget_key(job: Job, cleaned: Cleaned, pruned: str) -> str:
    """The graph as ``pruned`` and as it was, and what accuracy is judged on, by whom and against what."""
    return _key(
        job,
        pruned,
        sparsity_key(job, cleaned),
        job.imported.digest if cleaned.reference is None else model_digest(cleaned.reference),
        job.inputs.held_back.digest,
        job.settings.digest("evaluate", "max_drop"),
    )


def interface_key(job: Job) -> str:
    """What cleaning reads, and the types asked for."""
    return _key(job, "interface", cleaning_key(job), job.settings.digest("io_precision"))


def calibration_key(job: Job, cleaned: Cleaned, scheme: Scheme) -> str:
    """The float graph, calibration samples, and what says how they are used: no target, budget or held-back sample."""
    return _key(
        job,
        cleaned.digest,
        cleaned.pruned,
        to_json(cleaned.sample_shapes),
        job.inputs.calibration.digest,
        str(job.inputs.calibrated),
        repr(job.inputs.batching),
        job.settings.digest("calibration", "seed", "sparsity", "without"),
        repr(scheme),
        *(f"{node}={other.name}" for node, other in planned_formats(job.settings.plan, scheme).items()),
    )


def observing_key(job: Job, cleaned: Cleaned) -> str:
    """The float graph and calibration samples; how many of them are looked at depends on the graph's cost."""
    return _key(
        job,
        "observe",
        cleaned.digest,
        cleaned.pruned,
        to_json(cleaned.sample_shapes),
        job.inputs.calibration.digest,
        repr(job.inputs.batching),
        job.settings.digest("sparsity"),
    )


def siblings_key(job: Job, cleaned: Cleaned, precisions: Sequence[str]) -> str:
    """The float graph, how far its activations reach, and what it is typed in."""
    return _key(job, observing_key(job, cleaned), to_json(cleaned.notes), *precisions)


def typing_key(job: Job, cleaned: Cleaned, form: str, *quantized: str) -> str:
    """``quantized`` are the calibration keys behind the form; and the precision, a plan that was given, what accuracy
    is judged on, by whom and against what.
    """
    return _key(
        job,
        form,
        *quantized,
        cleaned.digest,
        cleaned.pruned,
        to_json([cleaned.sample_shapes, cleaned.notes]),
        job.imported.digest if cleaned.reference is None else model_digest(cleaned.reference),
        job.inputs.calibration.digest,
        job.inputs.held_back.digest,
        repr(job.inputs.batching),
        job.settings.digest("precision", "evaluate", "max_drop", "sparsity", "plan"),
        job.settings.digest("optimize_for", "targets") if job.settings.searches else "",  # what a mix costs there
    )


def building_key(job: Job, cleaned: Cleaned, forms: TypedForms) -> str:
    """The typed graph, targets, profiles and what concerns builds; the GPU at hand decides what ``native`` is."""
    typed = model_digest(forms.typed.path) if forms.typed is not None else ""
    asked = "builder_options", "build_time_limit", "build_memory_limit", "precision", "jobs"
    return _key(
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
    return _key(
        job,
        *(f"{name}={model_digest(path)}" for name, path in graphs.items()),
        to_json([cleaned.profile, cleaned.more_profiles]),
        repr(job.inputs.batching),
        target,
        repr(used_gpu()),
        job.settings.digest("builder_options", "build_time_limit", "build_memory_limit", "sparsity"),
    )


def proving_key(job: Job, engines: Mapping[str, Path]) -> str:
    """The engines of every form, what they are judged on, by whom, by which budget, and the GPU that runs them."""
    return _key(
        job,
        *(f"{form}={sha256_file(folder / MANIFEST_NAME)}" for form, folder in engines.items()),
        job.inputs.held_back.digest,
        job.settings.digest("evaluate", "max_drop"),
        repr(used_gpu()),
    )


def measuring_key(job: Job, cleaned: Cleaned, proofs: str, refused: Mapping[str, str]) -> str:
    """What was proved of the engines, the forms that cannot ship, and the batch that they are timed at."""
    return _key(job, proofs, to_json([cleaned.profile, dict(refused)]), job.settings.asked_gpu_form)


def prediction_key(job: Job, cleaned: Cleaned, forms: TypedForms) -> str:
    """The typed graph, the shapes of a sample, and targets."""
    typed = model_digest(forms.typed.path) if forms.typed is not None else ""
    return _key(job, typed, to_json([cleaned.sample_shapes, job.specs]), *(target.name for target in job.targets))


def cpu_key(job: Job, cleaned: Cleaned, forms: TypedForms) -> str:
    """The CPU's forms and checks, the first held-back sample, profile, and this machine."""
    digests = [f"{name}={model_digest(form.path)}" for name, form in forms.on_cpu().items()]
    checks = [[form.check.ok, form.check.reasons] for form in forms.on_cpu().values()]
    return _key(
        job,
        *digests,
        to_json([checks, cleaned.profile, forms.not_finite, forms.typed is None]),
        job.inputs.held_back.digest,
        repr(job.inputs.batching),
        job.settings.asked_cpu_form,
        cpu_name(),
    )


def loadgen_key(job: Job, engines: Sequence[Path]) -> str:
    """The engines that run here, what they are fed, scenarios and their duration, and this machine."""
    return _key(
        job,
        *((engine / MANIFEST_NAME).read_bytes() for engine in engines),
        job.inputs.held_back.digest,
        job.settings.digest("loadgen", "duration"),
        cpu_name(),
    )


def _key(job: Job, *parts: str | bytes) -> str:
    versions = (f"{name}={version}" for name, version in sorted(job.tools.items()))
    return digest_of((code_digest(), *versions, *parts))
