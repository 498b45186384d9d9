"""What became of one target's engine that runs here: the form it ships in, and what every form reached in one run.

One record for each of them, whatever runs it; the report, its page and PLASTER's figures read nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accuracy.compare import Accuracy
from benchmarks.accuracy.first_difference import FirstDifference
from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.energy.measure import Energy
from benchmarks.in_flight import DeviceLatency
from benchmarks.measurement import Latency, Throughput
from benchmarks.memory import EngineMemory
from benchmarks.timing.op_times import OpTime
from benchmarks.timing.quantized_costs import QuantizedCosts
from benchmarks.timing.steady import Steadiness
from engines.layers import LayerInfo, fallen_back
from engines.targets.target import Target
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.stages.engines.build import BuildOutcome
from optimizer.stages.forms.typed_forms import CPU_FP32, TypedForm

LEAST_GAIN = 1.02
"""How many times faster than a more precise form a form must be to ship; chosen, above what two equal engines differ
by in an interleaved run.
"""


@dataclass(frozen=True)
class FormRecord:
    """What else was found of one form of a GPU's engine: its accuracy on the engine itself (None where it did not run,
    and ``failed`` says why), energy, times between CUDA events of a sample and of a batch, size and build.
    ``int8_native`` is the share of the nodes planned in INT8 that its layer table shows in INT8, None where it shows
    none of them; ``first_difference`` is where it begins to differ from the simulation of its graph, where it was
    looked for.
    """

    accuracy: Accuracy | None = None
    task: TaskAccuracy | None = None
    energy: Energy | None = None
    device: DeviceLatency | None = None
    device_batch: DeviceLatency | None = None
    int8_native: float | None = None
    engine_bytes: int | None = None
    build_seconds: float | None = None
    failed: str = ""
    first_difference: FirstDifference | None = None


@dataclass(frozen=True)
class EngineRecord:
    """Which form an engine ships in and what all forms measured in the same, interleaved run.

    ``form`` is the name of a precision (``"int8"``, ``"fp32"``); ``latency`` and ``throughput`` are by form;
    ``op_times`` where the shipped form spends one inference. ``steadiness`` judges the throughput runs; ``energy`` and
    ``memory`` are the shipped form's. ``notes`` name measurements that failed: their figures are empty;
    ``no_memory`` is why memory was left out on purpose; ``measured_at`` the time, in ISO 8601.

    ``forms`` is empty for the CPU, whose forms were judged before they were timed. ``node_times`` are milliseconds of
    the shipped form by node of its graph, and by kernel where no node is behind one. ``quantized_costs`` says, where
    the quantized form was no faster than FP32, which nodes and conversions cost it.
    """

    form: str
    why: str
    batch: int
    latency: dict[str, Latency]
    throughput: dict[str, Throughput]
    op_times: list[OpTime]
    steadiness: Steadiness | None = None
    energy: Energy | None = None
    memory: EngineMemory | None = None
    notes: list[str] = field(default_factory=list)
    forms: dict[str, FormRecord] = field(default_factory=dict)
    node_times: dict[str, float] = field(default_factory=dict)
    quantized_costs: QuantizedCosts | None = None
    no_memory: str = ""
    measured_at: str = ""

    @property
    def timed(self) -> bool:
        """Whether the shipped form was."""
        return self.form in self.latency and self.form in self.throughput

    @property
    def speedup(self) -> float | None:
        """Throughput of the shipped form over FP32's; None where either was not timed."""
        if self.form not in self.throughput or CPU_FP32 not in self.throughput:
            return None
        return self.throughput[self.form].samples_per_s / self.throughput[CPU_FP32].samples_per_s


@dataclass(frozen=True)
class TargetEngine:
    """What became of one target: what was built and, of an engine that runs here, its ``record``, the ``form`` it ships
    in and its ``folder``. These are None where none ran, and ``reason`` then says why one that is of the GPU here did
    not. ``target`` is set where nobody asked for it: a baseline.
    """

    outcome: BuildOutcome
    record: EngineRecord | None = None
    form: TypedForm | None = None
    reason: str = ""
    folder: Path | None = None
    target: Target | None = None


def measuring(target: Target) -> str:
    """The name of the stage in which a target's engine is measured."""
    return f"measure-{target.name}"


def choose_form(
    forms: Sequence[str], throughput: Mapping[str, Throughput], refused: Mapping[str, str], place: str
) -> tuple[str, str]:
    """The form that ships, and why.

    ``forms`` go from the most precise to the one asked for, ``refused`` says of a form why it cannot ship. A form ships
    when it is ``LEAST_GAIN`` times faster than the more precise one that would else; the first needs no reason.
    """
    usable = [form for form in forms if form not in refused]
    kept = usable[0]
    for form in usable[1:]:
        if form in throughput and kept in throughput and _gain(throughput, form, kept) >= LEAST_GAIN:
            kept = form
    return kept, _why(forms, throughput, refused, place)


def int8_native(plan: PrecisionPlan, layers: Sequence[LayerInfo]) -> float | None:
    """The share of the nodes planned in INT8 that an engine's layer table shows in INT8; None where it shows none of
    them.
    """
    planned = [name for name, node in plan.nodes.items() if node.dtype is Dtype.INT8]
    fell, seen = fallen_back(planned, layers)
    return 1 - len(fell) / seen if seen else None


def _why(forms: Sequence[str], throughput: Mapping[str, Throughput], refused: Mapping[str, str], place: str) -> str:
    """How the form that was asked for stands to the others."""
    asked, others = forms[-1], [form for form in reversed(forms[:-1]) if form in throughput]
    if len(forms) == 1:
        return ""
    if asked in refused:
        return refused[asked]
    if asked not in throughput or not others:
        return f"{asked.upper()} could not be timed on {place}"
    return f"{asked.upper()} ran at {gains(throughput, asked, others)} on {place}"


def gains(throughput: Mapping[str, Throughput], form: str, others: Iterable[str]) -> str:
    """``"1.18x of FP16 and 1.77x of FP32"``, of those that were timed."""
    return " and ".join(
        f"{_gain(throughput, form, other):.2f}x of {other.upper()}" for other in others if other in throughput
    )


def _gain(throughput: Mapping[str, Throughput], form: str, other: str) -> float:
    return throughput[form].samples_per_s / throughput[other].samples_per_s
