"""The seven PLASTER figures of a run, from what its stages measured."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.loadgen.settings import Scenario
from benchmarks.plaster import figures
from benchmarks.plaster.figures import Learning, NativeOps
from benchmarks.plaster.native import native_in_form, native_in_layers, refused
from benchmarks.report.model import LoadgenSummary, Plaster, TargetSummary
from engines.targets.target import CPU
from optimizer.stages.forms.typed_forms import CPU_FP32
from optimizer.stages.report.findings import Findings
from optimizer.stages.report.target_rows import fidelity, simulated_how

LEARNING = "import to built engines with nothing cached, calibration and accuracy check included, measuring left out"
UPDATING = "import to built engines by what the bundle before keeps, accuracy check included, measuring left out"
_MEASURING = ("cpu", "loadgen", "check", "measure", "siblings")
"""Stages, or how their names begin where they have a target's behind."""


def plaster_of(found: Findings, targets: Mapping[str, TargetSummary]) -> Plaster:
    """Figures of the GPU's engine where one runs here, else of the CPU's; None where nothing was measured here."""
    asked = [target.name for target in found.targets if target is not CPU]
    subject = next((name for name in asked if name in found.records), CPU.name)
    runs = {name: LoadgenSummary.of(run, "") for name, run in found.loadgen.get(subject, {}).items()}
    record = found.records.get(subject)
    own = found.shipped[subject] if record and (subject != CPU.name or record.form != CPU_FP32) else None
    shown = own or found.main
    measured = targets.get(subject)
    sized = measured.engine_bytes if measured else _smallest(targets)
    return Plaster(
        programmability=figures.programmability(
            {t.name: _native(t.name, targets[t.name], found) for t in found.targets}, found.flags
        ),
        latency=figures.latency(
            runs.get(Scenario.SINGLE_STREAM.value), record.latency.get(record.form) if record else None
        ),
        accuracy=figures.accuracy(
            fidelity(shown.check.accuracy),
            shown.check.task,
            shown.check.accuracy.samples,
            f"the {'CPU' if subject == CPU.name else subject} engine, measured"
            if shown is found.shipped.get(subject)
            else f"the typed graph, {simulated_how(found.requested)}",
        ),
        size=figures.size(
            found.model.bytes,
            sized,
            record.memory if record else None,
            record.no_memory if record else "no engine runs here",
        ),
        throughput=figures.throughput(
            runs.get(Scenario.OFFLINE.value),
            record.throughput[record.form].samples_per_s if record and record.form in record.throughput else None,
            record.batch if record else None,
        ),
        energy=figures.energy(record.energy if record else None),
        rate_of_learning=figures.rate_of_learning(_learning(found)),
    )


def _learning(found: Findings) -> Learning:
    seconds = making_seconds(found.timings)
    if found.update is not None:
        return Learning(seconds, cold_why=UPDATING, first="update")
    return Learning(seconds, cold_why=LEARNING)


def _smallest(targets: Mapping[str, TargetSummary]) -> int | None:
    return min((target.engine_bytes for target in targets.values() if target.engine_bytes), default=None)


def _native(name: str, target: TargetSummary, found: Findings) -> NativeOps:
    form = (found.forms.int8 or found.shipped.get(CPU.name)) if name == CPU.name else found.main
    planned = {node: precision.dtype.value for node, precision in (form or found.main).plan.nodes.items()}
    if target.status == "skipped":
        return refused(len(planned), target.reason)
    if name == CPU.name:
        return native_in_form(planned, target.kept_precision or "")
    return native_in_layers(planned, found.layers.get(name, ()))


def making_seconds(timings: Mapping[str, float]) -> float:
    """All stages but those that only measure, and what is built to be measured beside."""
    return sum(seconds for stage, seconds in timings.items() if stage.partition("-")[0] not in _MEASURING)
