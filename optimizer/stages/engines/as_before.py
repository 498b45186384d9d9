"""What an update need not find out again about engines: which form won in the bundle before, and in which words."""

from __future__ import annotations

from optimizer.stages.forms.typed_forms import TypedForm, TypedForms
from optimizer.stages.job import Job


def cpu_as_before(job: Job, forms: TypedForms) -> str:
    """Why the CPU's engine is of the one form that was made, where that is the one that won in the bundle before; empty
    where it is chosen anew.
    """
    kept = job.kept
    if kept is None or not kept.knows_cpu_form or len(forms.on_cpu()) > 1:
        return ""
    return f"as in {kept.name}" + (f": {kept.cpu_why}" if kept.cpu_why else "")


def gpu_as_before(job: Job, typed: TypedForm) -> str:
    """Why GPU engines need no more precise siblings, where the form asked for won in the bundle before and what was
    kept of it fits the new weights; empty where they do.
    """
    kept = job.kept
    if kept is None or not kept.unchanged or not (typed.before is None or typed.before.kept):
        return ""
    return f"as in {kept.name}"
