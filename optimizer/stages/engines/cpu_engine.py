"""The CPU's engine: the form it ships in chosen by measurement, its memory measured; then built and described."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.memory import engine_memory
from benchmarks.report.charts import load_charts
from engines.build import BuildRequest, build_engine
from engines.targets.target import CPU
from optimizer.attempt import attempt
from optimizer.settings.options import Precision
from optimizer.stages.engines.as_before import cpu_as_before
from optimizer.stages.engines.build import BuildOutcome, outcome
from optimizer.stages.engines.cpu import choose_cpu_form
from optimizer.stages.engines.record import EngineRecord
from optimizer.stages.engines.shipping import describe_cpu
from optimizer.stages.forms.typed_forms import TypedForms
from optimizer.stages.job import Cleaned, Job
from optimizer.typed.schemes import cpu_scheme

LASTS_S = 86_400.0
"""Seconds for which one job's times stand for those of others with the same forms on the same machine: a day. Chosen:
a second folder or target is asked for within hours; what else runs on a machine, its heat and its clocks change.
"""


def measure_cpu_engine(job: Job, cleaned: Cleaned, forms: TypedForms) -> EngineRecord:
    """Choose among the CPU's forms, and measure what the chosen one takes."""
    feed, check = next(job.inputs.held_back.samples()), forms.int8.check if forms.int8 is not None else None
    paths = {name: form.path for name, form in forms.on_cpu().items()}
    asked, why = job.settings.asked_cpu_form, _why_alone(job, forms)
    choice = choose_cpu_form(paths, check, feed, job.specs, cleaned.profile, asked, why)
    if cpu_as_before(job, forms):
        return replace(choice, no_memory="weights do not change it")
    with ThreadPoolExecutor(1) as pool:  # a child opens the engine meanwhile: that is about bytes, not about time
        measuring = pool.submit(engine_memory, str(paths[choice.form]), feed)
        load_charts()
        memory, failed = attempt("memory of the CPU engine", measuring.result, None)
    return replace(choice, memory=memory, notes=[*choice.notes, *failed])


def build_cpu_engine(job: Job, cleaned: Cleaned, forms: TypedForms, choice: EngineRecord, bundle: Path) -> BuildOutcome:
    """Leave the engine, its plan and its ranges in ``bundle/engines/cpu``."""
    folder = bundle / "engines" / CPU.name
    manifest = build_engine(
        BuildRequest(
            model=forms.on_cpu()[choice.form].path,
            target=CPU,
            profile=cleaned.profile,
            out=folder,
            precision=choice.form,
            batching=job.inputs.batching,
            not_finite=(*forms.not_finite, *job.inputs.not_finite),
        )
    )
    describe_cpu(forms, choice, bundle)
    return outcome(CPU.name, folder, manifest)


def complete(choice: EngineRecord) -> bool:
    """Whether nothing failed that would be measured another time."""
    return choice.timed and not choice.notes


def _why_alone(job: Job, forms: TypedForms) -> str:
    """Why there is one form to choose from, where there is."""
    precision = job.settings.precision
    if before := cpu_as_before(job, forms):
        return before
    if cpu_scheme(precision) is not None and precision.quantized:
        return (
            f"nothing could be quantized to {Precision.INT8.value if precision is Precision.AUTO else precision.value}"
        )
    if precision is Precision.FP32:
        return "fp32 was asked for"
    return f"a CPU computes {precision.value} in FP32: this engine is FP32, model.onnx is typed for GPUs"
