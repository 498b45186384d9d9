"""What each stage reads: its key is a digest of that, and of nothing else.

What every stage depends on beside: library versions and this program's code. Stages that work on engines have theirs in
``optimizer.stages.engines.keys``.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphs.digests import digest_of
from graphs.files import to_json
from graphs.storage.model_files import model_digest
from optimizer.quantization.codes.scheme import Scheme
from optimizer.stages.job import Cleaned, Job
from optimizer.typed.schemes import planned_formats
from optimizer.version import code_digest


def cleaning_key(job: Job) -> str:
    """The model, the first samples (the graph is run on them), all shapes in the data, and profiles asked for."""
    return stage_key(
        job,
        job.imported.digest,
        job.inputs.calibration.digest,
        job.inputs.held_back.digest,
        repr(job.inputs.batching),
        job.settings.digest("shapes"),
    )


def sparsity_key(job: Job, cleaned: Cleaned) -> str:
    """The float graph, the calibration samples it is pruned on, and what is left out."""
    return stage_key(
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
    return stage_key(
        job,
        pruned,
        sparsity_key(job, cleaned),
        job.imported.digest if cleaned.reference is None else model_digest(cleaned.reference),
        job.inputs.held_back.digest,
        job.settings.digest("evaluate", "max_drop"),
    )


def interface_key(job: Job) -> str:
    """What cleaning reads, the types asked for, and the bundle whose names the graph has."""
    return stage_key(job, "interface", cleaning_key(job), job.settings.digest("io_precision"), updated(job))


def calibration_key(job: Job, cleaned: Cleaned, scheme: Scheme) -> str:
    """The float graph, calibration samples, and what says how they are used: no target, budget or held-back sample."""
    return stage_key(
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


def again_key(job: Job, cleaned: Cleaned, scheme: Scheme) -> str:
    """What calibration reads, and the bundle whose ranges are checked."""
    return stage_key(job, "again", calibration_key(job, cleaned, scheme), updated(job))


def matching_key(job: Job, cleaned: Cleaned) -> str:
    """The graph, and the bundle whose names it takes."""
    return stage_key(job, "match", cleaned.digest, updated(job))


def observing_key(job: Job, cleaned: Cleaned) -> str:
    """The float graph and calibration samples; how many of them are looked at depends on the graph's cost."""
    return stage_key(
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
    return stage_key(job, observing_key(job, cleaned), to_json(cleaned.notes), *precisions)


def typing_key(job: Job, cleaned: Cleaned, form: str, *quantized: str) -> str:
    """``quantized`` are the calibration keys behind the form; and the precision, a plan that was given, what accuracy
    is judged on, by whom and against what.
    """
    return stage_key(
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
        updated(job),
        "all samples" if job.kept is not None and job.kept.all_samples else "",
    )


def updated(job: Job) -> str:
    """The bundle that the job is an update of, and whether what was faster there is so here; empty where it is none."""
    return f"{job.kept.digest}, {job.kept.here}" if job.kept is not None else ""


def stage_key(job: Job, *parts: str | bytes) -> str:
    """Digest of ``parts``, library versions and this program's code."""
    versions = (f"{name}={version}" for name, version in sorted(job.tools.items()))
    return digest_of((code_digest(), *versions, *parts))
