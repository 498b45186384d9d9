"""What a placement is made of: which tensors get Q/DQ, for which inputs of which nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.reading.number_types import SIGNED, NumberType
from graphs.writing.edits import values_by_name
from optimizer.precision import PrecisionPlan
from optimizer.quantization.codes.affine import Affine
from optimizer.quantization.codes.scheme import ActivationScheme, Scheme, WeightScheme
from optimizer.quantization.rules.catalogue import Rule


@dataclass(frozen=True, order=True)
class Use:
    """Input ``index`` of the node called ``node``."""

    node: str
    index: int


def rewire(nodes: Mapping[str, ir.Node], uses: Iterable[Use], value: ir.Value) -> None:
    """Make ``uses`` read ``value``."""
    for use in uses:
        nodes[use.node].replace_input_with(use.index, value)


@dataclass(frozen=True)
class ActivationPoint:
    """One shared Q/DQ pair on ``tensor``, read by ``uses``, in the form ``codes``; ``scale_of`` names the tensor whose
    range it takes."""

    tensor: str
    uses: tuple[Use, ...]
    rule: Rule
    codes: ActivationScheme
    scale_of: str = ""

    @property
    def range_name(self) -> str:
        return self.scale_of or self.tensor


@dataclass(frozen=True)
class WeightPoint:
    """A constant whose output channels are ``axis``, quantized in the form ``codes``, read by ``uses``."""

    tensor: str
    axis: int
    uses: tuple[Use, ...]
    codes: WeightScheme


@dataclass(frozen=True)
class Placement:
    """Everything ``qdq.insert`` needs, and the reason for every node's precision.

    ``tensors`` are all activations whose ranges the placement looks at: those of the points and those only guards read.
    ``results`` maps convolutions whose rounded result float ops read to that tensor, and ``float_results`` are those
    whose result is written in float instead; ``rounded`` are the tensors that integer kernels make (schemes with
    integer results).
    """

    scheme: Scheme
    activations: tuple[ActivationPoint, ...]
    weights: tuple[WeightPoint, ...]
    plan: PrecisionPlan
    tensors: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    results: Mapping[str, str] = field(default_factory=dict)
    float_results: frozenset[str] = frozenset()
    rounded: frozenset[str] = frozenset()

    def quantizers(self, model: ir.Model, table: CalibrationTable) -> dict[str, Affine]:
        """What each weighted node's calibrated data goes through: node name -> to codes and back."""
        values, found = values_by_name(model.graph), dict[str, Affine]()
        for point in (point for point in self.activations if not point.codes.block):
            rounder = point.codes.quantizer(values[point.tensor], table.tensors[point.range_name])
            found.update({use.node: rounder for use in point.uses if use.index == 0})
        return found

    @property
    def numbers(self) -> dict[str, NumberType]:
        """What codes the ranges of ``tensors`` are for: where some are whole, those, which suffer more from a range
        that was chosen for others; where there are none (guards read the range alone), the scheme's.
        """
        usual = self.scheme.static.numbers if self.scheme.calibrated else SIGNED
        points = sorted(self.activations, key=lambda point: point.codes.numbers.whole)
        of_points = {point.range_name: point.codes.numbers for point in points}
        return {name: of_points.get(name, usual) for name in self.tensors}

    @property
    def quantizes(self) -> bool:
        return bool(self.weights)
