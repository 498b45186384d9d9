"""From what the stages measured or predicted to the report's dataclasses. Nothing is computed here."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accuracy.compare import Accuracy
from benchmarks.loadgen.settings import LoadgenResult, Scenario
from benchmarks.measurement import Verdict
from benchmarks.plaster import figures
from benchmarks.plaster.figures import Learning, NativeOps
from benchmarks.plaster.native import native_in_form, native_in_layers, refused
from benchmarks.report.model import (
    AccuracySummary,
    LoadgenSummary,
    ModelSummary,
    OutputFidelity,
    Percentiles,
    Plaster,
    PrecisionSummary,
    Report,
    Status,
    TargetSummary,
)
from benchmarks.roofline.prediction import Prediction
from engines.layers import LayerInfo
from engines.targets.target import CPU, Backend, Target
from optimizer.precision import Dtype
from optimizer.settings import Precision
from optimizer.stages.build import BuildOutcome
from optimizer.stages.cpu import CpuChoice
from optimizer.stages.forms import CPU_INT8, TypedForm, TypedForms
from optimizer.typed.high_precision import HIGH_DTYPE

LEARNING = "import to built engines with nothing cached, calibration and proof included, measuring left out"
MEASURED = "measured on the engine itself"


@dataclass(frozen=True)
class Findings:
    """All that a run found out, stage by stage. ``on_cpu`` is the form that the CPU's engine shipped in."""

    model: ModelSummary
    requested: str
    forms: TypedForms
    calibrated: bool
    held_back: str
    max_drop: float
    targets: Sequence[Target]
    builds: Mapping[str, BuildOutcome]
    cpu: CpuChoice | None
    on_cpu: TypedForm | None
    loadgen: Mapping[str, Mapping[str, LoadgenResult]]
    timings: Mapping[str, float]
    kept: Sequence[str]
    warnings: Sequence[str]
    bundle: str
    command: str = ""
    created: str = ""
    calibration: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, Sequence[LayerInfo]] = field(default_factory=dict)
    flags: Sequence[str] = ()
    predictions: Mapping[str, Prediction] = field(default_factory=dict)

    @property
    def main(self) -> TypedForm:
        """The form of ``model.onnx``, which precision and accuracy of the report are those of."""
        return self.forms.main(self.on_cpu)


def assemble(found: Findings) -> Report:
    """The report of a run."""
    targets = {target.name: _target(target, found) for target in found.targets}
    shipped, typed = _shipped_forms(found), found.forms.typed
    over_budget = [reason for form in shipped for reason in form.proof.reasons]
    unused = typed.proof.reasons if typed is not None and typed not in shipped else []
    missing = [f"{name}: {target.reason}" for name, target in targets.items() if target.status == "skipped"]
    status: Status = "over_budget" if over_budget else "partial" if missing else "ok"
    return Report(
        status=status,
        verdict=Verdict(
            status == "ok", (*over_budget, *missing, *(f"model.onnx, in no engine: {why}" for why in unused))
        ),
        calibrated=found.calibrated,
        model=found.model,
        precision=PrecisionSummary.of(
            found.requested,
            [node.dtype.value for node in found.main.plan.nodes.values()],
            found.main.int8_mac_share,
            "2:4" if found.forms.sparse else "none",
        ),
        accuracy=_accuracy(found),
        targets=targets,
        loadgen={
            name: {scenario: LoadgenSummary.of(result, result.log_dir) for scenario, result in runs.items()}
            for name, runs in found.loadgen.items()
        },
        plaster=_plaster(found, targets),
        timings={stage: round(seconds, 3) for stage, seconds in found.timings.items()},
        peak_rss_mb=round(peak_rss_mb(), 1),
        created=found.created,
        command=found.command,
        calibration=dict(found.calibration),
        machine=dict(found.machine),
        versions=dict(found.versions),
        kept=list(found.kept),
        warnings=[*_said_nowhere_else(found), *_nothing_quantized(found)],
    )


def _said_nowhere_else(found: Findings) -> list[str]:
    """Warnings without those on a target that has no engine: its reason stands in the verdict and in its row."""
    refusals = [build.reason for build in found.builds.values() if build.engine is None]
    return [warning for warning in found.warnings if not any(reason in warning for reason in refusals if reason)]


def _nothing_quantized(found: Findings) -> list[str]:
    """A warning where INT8 was asked for and no node came out in it, with the reason of most multiply-accumulates.
    A CPU that ships FP32 although there is an INT8 form says why in its row.
    """
    plan = (found.forms.typed or found.forms.int8 or found.main).plan
    if found.requested != Precision.INT8.value or any(node.dtype is Dtype.INT8 for node in plan.nodes.values()):
        return []
    products = {name: node for name, node in plan.nodes.items() if node.macs}
    if not products:
        return ["nothing could be quantized to INT8: the model has no convolution and no matrix product"]
    name, heaviest = max(products.items(), key=lambda item: item[1].macs)
    why = f"{heaviest.op_type} {name!r}, the heaviest, stays {heaviest.dtype.value}: {heaviest.reason}"
    return [f"nothing could be quantized to INT8, none of {len(products)} convolutions and matrix products; {why}"]


def peak_rss_mb() -> float:
    """Largest resident size this process has had, in MB (10^6 bytes); Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _shipped_forms(found: Findings) -> list[TypedForm]:
    """What engines were made of: the typed graph where a target built it, and the CPU's own form."""
    built = any(
        found.builds[target.name].engine for target in found.targets if target.backend is not Backend.ONNXRUNTIME
    )
    forms = (found.forms.typed if built else None, found.on_cpu)
    return [form for form in forms if form is not None]


def _accuracy(found: Findings) -> AccuracySummary:
    proof = found.main.proof
    return AccuracySummary(
        proof.accuracy.samples, _outputs(proof.accuracy), proof.task, found.max_drop, found.held_back
    )


def _outputs(accuracy: Accuracy) -> dict[str, OutputFidelity]:
    return {name: OutputFidelity.of(output) for name, output in accuracy.outputs.items()}


def _target(target: Target, found: Findings) -> TargetSummary:
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
        accuracy=_outputs(typed.proof.accuracy),
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
        accuracy=_outputs(form.proof.accuracy) if form else None,
        accuracy_how=MEASURED,
        fp32_latency_ms=Percentiles.of(cpu.latency["fp32"]) if timed else None,
        fp32_throughput=cpu.throughput["fp32"].samples_per_s if timed else None,
        fp32_bytes=found.model.bytes,
        steadiness=cpu.steadiness,
    )


def _plaster(found: Findings, targets: Mapping[str, TargetSummary]) -> Plaster:
    runs = {name: LoadgenSummary.of(run, "") for name, run in found.loadgen.get(CPU.name, {}).items()}
    cpu, measured_form = found.cpu, found.on_cpu if found.cpu and found.cpu.form == CPU_INT8 else None
    shown = measured_form or found.main
    measured = targets.get(CPU.name)
    sized = measured.engine_bytes if measured else _smallest(targets)
    return Plaster(
        programmability=figures.programmability(
            {name: _native(name, target, found) for name, target in targets.items()}, found.flags
        ),
        latency=figures.latency(runs.get(Scenario.SINGLE_STREAM.value), cpu.latency.get(cpu.form) if cpu else None),
        accuracy=figures.accuracy(
            _outputs(shown.proof.accuracy),
            shown.proof.task,
            shown.proof.accuracy.samples,
            "the CPU engine, measured"
            if shown is found.on_cpu
            else f"the typed graph, {simulated_how(found.requested)}",
        ),
        size=figures.size(found.model.bytes, sized, cpu.memory if cpu else None, "no engine runs here"),
        throughput=figures.throughput(
            runs.get(Scenario.OFFLINE.value),
            cpu.throughput[cpu.form].samples_per_s if cpu and cpu.throughput else None,
            cpu.batch if cpu else None,
        ),
        energy=figures.energy(cpu.energy if cpu else None),
        rate_of_learning=figures.rate_of_learning(Learning(_learning_seconds(found), cold_why=LEARNING)),
    )


def _smallest(targets: Mapping[str, TargetSummary]) -> int | None:
    return min((target.engine_bytes for target in targets.values() if target.engine_bytes), default=None)


def _native(name: str, target: TargetSummary, found: Findings) -> NativeOps:
    form = (found.forms.int8 or found.on_cpu) if name == CPU.name else found.main
    planned = {node: precision.dtype.value for node, precision in (form or found.main).plan.nodes.items()}
    if target.status == "skipped":
        return refused(len(planned), target.reason)
    if name == CPU.name:
        return native_in_form(planned, target.kept_precision or "")
    return native_in_layers(planned, found.layers.get(name, ()))


def _learning_seconds(found: Findings) -> float:
    """All stages but those that only measure."""
    return sum(seconds for stage, seconds in found.timings.items() if stage not in ("cpu", "loadgen"))
