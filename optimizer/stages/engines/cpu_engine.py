"""The CPU's engine: the form it ships in chosen by measurement, built, described, and measured in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.memory import engine_memory
from benchmarks.report.charts import load_charts
from engines.build import BuildRequest, build_engine
from engines.manifest import EngineManifest
from engines.targets.target import CPU
from optimizer.attempt import attempt
from optimizer.settings import Precision
from optimizer.stages.engines.as_before import cpu_as_before
from optimizer.stages.engines.build import BuildOutcome, outcome
from optimizer.stages.engines.cpu import choose_cpu_form
from optimizer.stages.engines.record import EngineRecord
from optimizer.stages.engines.shipping import describe_cpu
from optimizer.stages.forms.typed_forms import TypedForms
from optimizer.stages.job import Cleaned, Job
from optimizer.typed.schemes import cpu_scheme


def make_cpu_engine(job: Job, cleaned: Cleaned, forms: TypedForms, bundle: Path) -> EngineRecord:
    """Choose among the CPU's forms and leave the engine, its plan and its ranges in ``bundle/engines/cpu``."""
    candidates, folder = forms.on_cpu(), bundle / "engines" / CPU.name
    feed, check = next(job.inputs.held_back.samples()), forms.int8.check if forms.int8 is not None else None
    paths = {name: form.path for name, form in candidates.items()}
    asked = job.settings
    why = _why_alone(job, forms)
    choice = choose_cpu_form(paths, check, feed, job.specs, cleaned.profile, asked.asked_cpu_form, why)
    build_engine(
        BuildRequest(
            model=paths[choice.form],
            target=CPU,
            profile=cleaned.profile,
            out=folder,
            precision=choice.form,
            batching=job.inputs.batching,
            not_finite=(*forms.not_finite, *job.inputs.not_finite),
        )
    )
    if cpu_as_before(job, forms):
        describe_cpu(forms, choice, bundle)
        return replace(choice, no_memory="weights do not change it")
    with ThreadPoolExecutor(1) as pool:  # a child opens the engine meanwhile: that is about bytes, not about time
        measuring = pool.submit(engine_memory, str(folder), feed)
        describe_cpu(forms, choice, bundle)
        load_charts()
        memory, failed = attempt("memory of the CPU engine", measuring.result, None)
    return replace(choice, memory=memory, notes=[*choice.notes, *failed])


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


def built_cpu(bundle: Path) -> BuildOutcome:
    """The record of that engine."""
    directory = bundle / "engines" / CPU.name
    return outcome(CPU.name, directory, EngineManifest.load(directory))
