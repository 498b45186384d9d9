"""A row of the report for every target: what its engine is, what it reached, or why there is none."""

from __future__ import annotations

from pathlib import Path

from benchmarks.accuracy.compare import Accuracy
from benchmarks.report.model import FormSummary, OutputFidelity, Percentiles, TargetSummary
from engines.targets.target import CPU, Target
from optimizer.precision import Dtype
from optimizer.settings.options import Precision
from optimizer.stages.engines.build import BuildOutcome
from optimizer.stages.engines.record import EngineRecord, int8_native, measuring
from optimizer.stages.forms.typed_forms import CPU_FP32
from optimizer.stages.report.findings import Findings
from optimizer.typed.high_precision import HIGH_DTYPE

MEASURED = "measured on the engine itself"
A_BASELINE = "a baseline to compare with: no bundle holds it"


def target_row(target: Target, found: Findings) -> TargetSummary:
    """Measured, built, or skipped with the reason."""
    build = found.builds[target.name]
    prediction = found.predictions.get(target.name)
    if build.engine is None and target not in found.baselines:
        return TargetSummary(build.backend, "skipped", build.reason, title=target.title, prediction=prediction)
    if (record := found.records.get(target.name)) is not None:
        return _measured_row(target, build, record, found)
    typed = found.main
    return TargetSummary(
        backend=build.backend,
        status="built",
        reason=found.not_run.get(target.name) or _why_elsewhere(target, found),
        engine=build.engine,
        engine_bytes=build.engine_bytes,
        build_seconds=build.build_seconds,
        title=target.title,
        next_command=f"optimize bench {Path(found.bundle).name} --target {target.name}",
        kept_precision=typed.plan.computes_in,
        why=_sparsity_note(target, build) if found.forms.sparse else "",
        accuracy=fidelity(typed.check.accuracy),
        accuracy_how=simulated_how(found.requested),
        accuracy_simulated=True,
        prediction=prediction,
        notes=list(build.notes),
        int8_native=int8_native(typed.plan, found.layers.get(target.name, ())),
    )


def _why_elsewhere(target: Target, found: Findings) -> str:
    """Why a target that was built was not measured."""
    if target.name in found.stripped:
        return "its plan holds no weights (strip_plan): refit it where it is to run"
    return f"no {target.title} in this machine"


def simulated_how(requested: str) -> str:
    """How the figures of a typed graph came about, for the precision asked for."""
    dtype = HIGH_DTYPE[Precision(requested)]
    if dtype is Dtype.FP32:
        return "simulated on the CPU in ONNX Runtime"
    name = {Dtype.FP16: "float16", Dtype.BF16: "bfloat16"}[dtype]
    return f"simulated on the CPU: every {name} tensor rounded to {name}, Q/DQ nodes executed in float"


def _sparsity_note(target: Target, build: BuildOutcome) -> str:
    if not target.sparse_tensor_cores:
        return f"2:4 sparsity gains nothing on {target.sm}: sparse tensor cores came with SM80"
    if build.backend == "tensorrt_rtx":
        return "weights are 2:4 and the build is marked; TensorRT-RTX takes the flag without using it, TensorRT uses it"
    told = build.sparse_tactics.sentence if build.sparse_tactics is not None else "its builder names no sparse layer"
    return f"weights are 2:4 and the build is marked sparse: {told}"


def _measured_row(target: Target, build: BuildOutcome, record: EngineRecord, found: Findings) -> TargetSummary:
    """A target whose engine runs here."""
    form, timed = record.form, record.timed
    fp32 = timed and CPU_FP32 in record.latency and CPU_FP32 in record.throughput
    return TargetSummary(
        backend=build.backend,
        status="measured" if timed else "built",
        reason="" if timed else "; ".join(record.notes),
        engine=build.engine,
        engine_bytes=build.engine_bytes,
        build_seconds=build.build_seconds,
        latency_ms=Percentiles.of(record.latency[form]) if timed else None,
        throughput=record.throughput[form].samples_per_s if timed else None,
        speedup_vs_fp32=record.speedup,
        kept_precision=form,
        why=_why(record),
        quantized_costs=record.quantized_costs,
        title=target.title,
        batch=record.batch,
        accuracy=fidelity(found.shipped[target.name].check.accuracy),
        accuracy_how=MEASURED,
        fp32_latency_ms=Percentiles.of(record.latency[CPU_FP32]) if fp32 else None,
        fp32_throughput=record.throughput[CPU_FP32].samples_per_s if fp32 else None,
        fp32_bytes=found.model.bytes,
        steadiness=record.steadiness,
        prediction=found.predictions.get(target.name) if form == found.main.plan.computes_in else None,
        notes=[A_BASELINE] if target in found.baselines else list(build.notes) if target is not CPU else [],
        int8_native=int8_native(found.shipped[target.name].plan, found.layers.get(target.name, ())),
        forms={name: _form(name, record) for name in record.forms},
        timed_earlier=record.measured_at if measuring(target) in found.kept else "",
    )


def _why(record: EngineRecord) -> str:
    """Why the engine ships in its form, and what made the quantized one slow, if that was."""
    costs = record.quantized_costs.sentence if record.quantized_costs is not None else ""
    return f"{record.why}; {costs}" if costs else record.why


def _form(name: str, record: EngineRecord) -> FormSummary:
    found, latency, throughput = record.forms[name], record.latency.get(name), record.throughput.get(name)
    device, batch = found.device, found.device_batch
    return FormSummary(
        latency_ms=Percentiles.of(latency) if latency is not None else None,
        throughput=throughput.samples_per_s if throughput is not None else None,
        accuracy=fidelity(found.accuracy) if found.accuracy is not None else None,
        task=found.task,
        inferences_per_joule=found.energy.inferences_per_joule if found.energy is not None else None,
        copy_in_ms=device.copy_in_ms if device is not None else None,
        compute_ms=device.compute_ms if device is not None else None,
        copy_out_ms=device.copy_out_ms if device is not None else None,
        batch_compute_ms=batch.compute_ms if batch is not None else None,
        int8_native=found.int8_native,
        engine_bytes=found.engine_bytes,
        build_seconds=found.build_seconds,
        failed=found.failed,
        first_difference=found.first_difference,
    )


def fidelity(accuracy: Accuracy) -> dict[str, OutputFidelity]:
    """The report's form of an accuracy."""
    return {name: OutputFidelity.of(output) for name, output in accuracy.outputs.items()}
