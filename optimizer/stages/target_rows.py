"""A row of the report for every target: what its engine is, what it reached, or why there is none."""

from __future__ import annotations

from pathlib import Path

from benchmarks.accuracy.compare import Accuracy
from benchmarks.report.model import OutputFidelity, Percentiles, TargetSummary
from engines.targets.target import CPU, Target
from optimizer.precision import Dtype
from optimizer.settings import Precision
from optimizer.stages.build import BuildOutcome
from optimizer.stages.cpu import CpuChoice
from optimizer.stages.findings import Findings
from optimizer.typed.high_precision import HIGH_DTYPE

MEASURED = "measured on the engine itself"


def target_row(target: Target, found: Findings) -> TargetSummary:
    """Measured, built, or skipped with the reason."""
    build = found.builds[target.name]
    prediction = found.predictions.get(target.name)
    if build.engine is None:
        return TargetSummary(build.backend, "skipped", build.reason, title=target.title, prediction=prediction)
    if target is CPU and found.cpu is not None:
        return _cpu_target(build, found.cpu, found)
    typed = found.main
    return TargetSummary(
        backend=build.backend,
        status="built",
        reason=f"no {target.title} in this machine",
        engine=build.engine,
        engine_bytes=build.engine_bytes,
        build_seconds=build.build_seconds,
        title=target.title,
        next_command=f"optimize bench {Path(found.bundle).name} --target {target.name}",
        kept_precision=typed.plan.computes_in,
        why=_sparsity_note(target, build.backend) if found.forms.sparse else "",
        accuracy=fidelity(typed.check.accuracy),
        accuracy_how=simulated_how(found.requested),
        accuracy_simulated=True,
        prediction=prediction,
        notes=list(build.notes),
    )


def simulated_how(requested: str) -> str:
    """How the figures of a typed graph came about, for the precision asked for."""
    dtype = HIGH_DTYPE[Precision(requested)]
    if dtype is Dtype.FP32:
        return "simulated on the CPU in ONNX Runtime"
    name = {Dtype.FP16: "float16", Dtype.BF16: "bfloat16"}[dtype]
    return f"simulated on the CPU: every {name} tensor rounded to {name}, Q/DQ nodes executed in float"


def _sparsity_note(target: Target, backend: str) -> str:
    if not target.sparse_tensor_cores:
        return f"2:4 sparsity gains nothing on {target.sm}: sparse tensor cores came with SM80"
    if backend == "tensorrt_rtx":
        return "weights are 2:4 and the build is marked; TensorRT-RTX takes the flag without using it, TensorRT uses it"
    return "weights are 2:4 and the build is marked sparse"


def _cpu_target(build: BuildOutcome, cpu: CpuChoice, found: Findings) -> TargetSummary:
    form = found.on_cpu
    timed = cpu.form in cpu.latency and cpu.form in cpu.throughput
    return TargetSummary(
        backend=build.backend,
        status="measured" if timed else "built",
        reason="" if timed else "; ".join(cpu.notes),
        engine=build.engine,
        engine_bytes=build.engine_bytes,
        build_seconds=build.build_seconds,
        latency_ms=Percentiles.of(cpu.latency[cpu.form]) if timed else None,
        throughput=cpu.throughput[cpu.form].samples_per_s if timed else None,
        speedup_vs_fp32=cpu.speedup,
        kept_precision=cpu.form,
        why=cpu.why,
        title=CPU.title,
        batch=cpu.batch,
        accuracy=fidelity(form.check.accuracy) if form else None,
        accuracy_how=MEASURED,
        fp32_latency_ms=Percentiles.of(cpu.latency["fp32"]) if timed else None,
        fp32_throughput=cpu.throughput["fp32"].samples_per_s if timed else None,
        fp32_bytes=found.model.bytes,
        steadiness=cpu.steadiness,
    )


def fidelity(accuracy: Accuracy) -> dict[str, OutputFidelity]:
    """The report's form of an accuracy."""
    return {name: OutputFidelity.of(output) for name, output in accuracy.outputs.items()}
