"""The forms of a model: the graphs that engines are built from, each with its plan, its ranges and its accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.plan_followed import PlanFollowed
from benchmarks.report.updated import CalibrationCheck
from calibration.table import CalibrationTable
from engines.targets.formats import CPU_FORMATS
from engines.targets.target import CPU, Backend, Target
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.choices import Choices
from optimizer.search.record import SearchRecord
from optimizer.settings.options import Precision
from optimizer.stages.forms.accuracy_check import AccuracyCheck

TYPED, CPU_INT8, CPU_FP32 = "typed", "int8", "fp32"


@dataclass(frozen=True)
class TypedForm:
    """One graph at ``path``; ``table`` holds the ranges of its Q/DQ, None where it has none of ours.

    ``check`` is what held-back samples say of it: measured where a CPU runs the very graph, else simulated.
    ``followed`` tells how far it is what a plan that was given asks for; ``search`` is the one that found it;
    ``choices`` is what quantizing it decided, for a retrained successor; ``before`` what became of such choices of the
    bundle that is updated.
    """

    path: Path
    plan: PrecisionPlan
    int8_mac_share: float
    check: AccuracyCheck
    table: CalibrationTable | None = None
    followed: PlanFollowed | None = None
    search: SearchRecord | None = None
    choices: Choices | None = None
    before: CalibrationCheck | None = None

    @property
    def quantized_share(self) -> float:
        """Share of MACs in INT8, by what arrives in the graph; in other formats as planned."""
        return self.int8_mac_share or sum(self.plan.quantized_shares.values())

    @property
    def in_words(self) -> str:
        """``"91% of the MACs in int8"``."""
        shares = self.plan.quantized_shares
        kind = max(shares, key=lambda dtype: shares[dtype], default="int8")
        return f"{self.quantized_share:.0%} of the MACs in {kind}"


@dataclass(frozen=True)
class CpuForms:
    """``as_cleaned``: the graph of ``fp32`` is the cleaned one, in the folder of the stage that made it; None where a
    bundle that is updated shipped INT8, and its successor does.
    """

    int8: TypedForm | None
    fp32: TypedForm | None
    as_cleaned: bool


@dataclass(frozen=True)
class TypedForms:
    """The forms a job made, None where the targets asked for do not run one. ``typed`` is TensorRT's, ``int8`` (or what
    else is quantized) and ``fp32`` are the CPU's; ``int8`` is None too where nothing could be quantized.
    """

    typed: TypedForm | None
    int8: TypedForm | None
    fp32: TypedForm | None

    @property
    def sparse(self) -> bool:
        """Whether the graph engines are built from holds weights that are 2:4, looked at in that very graph."""
        form = self.typed or self.int8
        return form is not None and any(node.sparsity for node in form.plan.nodes.values())

    @property
    def pruned(self) -> bool:
        """Whether zeros of that pattern were made here, by changing weights."""
        form = self.typed or self.int8
        return form is not None and any(node.pruned for node in form.plan.nodes.values())

    @property
    def quantized_on_cpu(self) -> str:
        """What the CPU's quantized form computes in: ``int8``, or ``int4`` for weights alone."""
        found = Dtype(self.int8.plan.computes_in) if self.int8 is not None and self.int8.plan.nodes else Dtype.INT8
        return found.value if found.quantized else CPU_INT8

    def on_cpu(self) -> dict[str, TypedForm]:
        """What the CPU's engine can ship in, by the name of its precision."""
        found = {CPU_FP32: self.fp32, self.quantized_on_cpu: self.int8}
        return {name: form for name, form in found.items() if form is not None}

    def all(self) -> Iterator[TypedForm]:
        """Every form there is."""
        yield from (form for form in (self.typed, self.int8, self.fp32) if form is not None)

    @property
    def not_finite(self) -> tuple[str, ...]:
        """Outputs that hold NaN or infinity in the model as given."""
        outputs = next(self.all()).check.accuracy.outputs
        return tuple(name for name, output in outputs.items() if not output.finite)

    @property
    def table(self) -> CalibrationTable | None:
        """The ranges of ``model.onnx``, or, in a job for the CPU alone, those of the form that INT8 was tried in."""
        form = self.typed or self.int8
        return form.table if form is not None else None

    def main(self, shipped: Mapping[str, TypedForm]) -> TypedForm:
        """The form of ``model.onnx``: TensorRT's, or, where no target runs that, the one that ships on the CPU. Where
        an engine of it runs here (``shipped``, by target), with what was measured on that.
        """
        if self.typed is None:
            return shipped[CPU.name]
        path = self.typed.path
        return next((form for form in shipped.values() if form.path == path), self.typed)


def needs_typed(targets: Sequence[Target], precision: Precision) -> bool:
    """Whether the graph for TensorRT is to be made: a GPU is a target, or what was asked for no CPU has (a half
    precision, FP8): for a CPU alone it is what the user takes away, while the engine stays FP32.
    """
    not_on_a_cpu = precision is not Precision.AUTO and precision.value not in CPU_FORMATS
    return not_on_a_cpu or any(target.backend is Backend.TENSORRT for target in targets)


def needs_cpu(targets: Sequence[Target]) -> bool:
    """Whether the CPU's forms are to be made."""
    return any(target.backend is Backend.ONNXRUNTIME for target in targets)
