"""Quantization schemes: how activations, weights and biases become codes in the Q/DQ that a runtime executes well.

A scheme is a value: placement, insertion, the corrections' arithmetic and the names of stages all follow from it. INT8
is one, FP8 another, weights alone in INT4 a third; ``SCHEMES`` has what TensorRT takes, by the name a node's precision
has in the plan. Op forms and GPUs were found by building with TensorRT-RTX 1.7.1 (``docs/formats.md``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import TensorRange
from engines.onnxruntime.integer_products import largest_weight_code
from graphs.reading.constants import constant_tensor
from graphs.reading.number_types import E2M1, E4M3, INT4, INT8, SIGNED, UNSIGNED, Floats, NumberType
from optimizer.precision import Dtype
from optimizer.quantization.codes.affine import FRACTIONS, Affine, best
from optimizer.quantization.codes.weights import SMALLEST_OF_DATA, anchored, fp16_representable

Parameters: TypeAlias = "tuple[Floats, NDArray[np.generic]]"
"""Scale and zero point of an activation, scalars."""


class Scales(str, Enum):
    """What scales are stored as."""

    AS_DATA = "as data"
    """In the type of what they scale: FP16 or BF16 once the graph is typed."""
    E4M3 = "fp8"
    """In FP8, themselves scaled by one float32 for the whole tensor: two levels (NVFP4)."""
    E8M0 = "powers of two"
    """In the eight bits of an exponent (the OCP MX formats)."""


@dataclass(frozen=True)
class ActivationScheme:
    """Codes of activations. One scale per tensor from calibration where ``block`` is 0, else one per ``block``
    channels, found as the model runs. ``symmetric``: the zero point is 0. ``fp16_scales``: scales are numbers that
    FP16 holds, since typing the graph stores them so.
    """

    numbers: NumberType
    symmetric: bool = True
    fp16_scales: bool = True
    block: int = 0
    scales: Scales = Scales.AS_DATA

    @property
    def dtype(self) -> ir.DataType:
        return self.numbers.dtype

    def quantizer(self, value: ir.Value, found: TensorRange) -> Affine:
        """How ``value``, whose range was ``found``, goes to codes and back."""
        if not self.symmetric:
            lowest, highest = self.numbers.lowest, self.numbers.highest
            scale, zero = found.asymmetric_scale(lowest, highest)
            return Affine(scale, int(min(max(zero, lowest), highest)), self.numbers)
        scale = found.symmetric_scale(self.numbers.highest)
        if self.fp16_scales:
            rounded = fp16_representable(scale, SMALLEST_OF_DATA)
            bound = _lower_bound(value) if self.numbers.whole else None
            scale = float(rounded if bound is None else anchored(rounded, bound))
        return Affine(scale, 0, self.numbers)

    def best(self, values: Floats, ends: Floats) -> Affine:
        """The quantizer with the least squared error on ``values``; ``ends`` are known to be reached. Both ends of an
        asymmetric one are drawn in alike.
        """
        lowest, highest = self.numbers.lowest, self.numbers.highest
        if self.symmetric:
            top = float(np.abs(ends).max(initial=0.0)) or 1.0
            return best((Affine(top * f / highest, 0, self.numbers) for f in FRACTIONS), values)
        low, high = float(ends.min(initial=0.0)), float(ends.max(initial=0.0))
        full = (high - low) / (highest - lowest) or 1.0
        tried = (Affine(full * f, int(lowest) + round(-low / full), self.numbers) for f in FRACTIONS)
        return best(tried, values)

    def parameters(self, value: ir.Value, found: TensorRange) -> Parameters:
        """What the Q and DQ of ``value`` read: the scale as float32, the zero point as the codes' type. Of blocks the
        scale is the one that stands above theirs: a power of two, at which the largest range fits into FP8.
        """
        if self.block:
            largest = max(found.amax, abs(found.minimum), abs(found.maximum)) / self.numbers.highest
            level = np.exp2(np.ceil(np.log2(max(largest, 2.0**-100) / E4M3.highest)))
            return np.asarray(level, np.float32), np.zeros((), self.numbers.numpy)
        quantizer = self.quantizer(value, found)
        return np.asarray(quantizer.scale, np.float32), np.asarray(quantizer.zero, self.numbers.numpy)


@dataclass(frozen=True)
class WeightScheme:
    """Codes of weights, symmetric: a scale per output channel where ``block`` is 0, else one per output channel and
    ``block`` inputs, the last block of a channel being what is left.
    """

    numbers: NumberType = INT8
    block: int = 0
    scales: Scales = Scales.AS_DATA

    @property
    def highest(self) -> float:
        return self.numbers.highest


@dataclass(frozen=True)
class Scheme:
    """``dtype`` is what the plan calls it. ``activations`` is None where weights alone are stored as codes, and the
    product is one of floats. ``integer_biases``: constant biases become int32 codes. ``integer_results``: outputs are
    quantized, too, so that chains of ops stay integer. ``on_cpu``: for ONNX Runtime's CPU kernels. ``name`` is part of
    stages' names, ``title`` is for people.
    """

    name: str
    title: str
    dtype: Dtype
    activations: ActivationScheme | None
    weights: WeightScheme = WeightScheme()
    integer_biases: bool = False
    integer_results: bool = False
    on_cpu: bool = False

    @property
    def weight_only(self) -> bool:
        return self.activations is None

    @property
    def calibrated(self) -> bool:
        """Whether its activations have one scale each that calibration finds."""
        return self.activations is not None and not self.activations.block

    @property
    def static(self) -> ActivationScheme:
        """Its activations' codes, of a scheme that has some with ranges from calibration."""
        if self.activations is None or self.activations.block:
            raise ValueError(f"{self.name} has no activations with ranges of their own")
        return self.activations


def _lower_bound(value: ir.Value) -> float | None:
    """The lower bound of the Clip that makes ``value``: many elements share it, so it has to be a code."""
    producer = value.producer()
    if producer is None or producer.op_type != "Clip" or len(producer.inputs) < 2:
        return None
    bound = constant_tensor(producer.inputs[1])
    return float(bound.numpy()) if bound is not None else None


TENSORRT = Scheme("tensorrt", "TensorRT", Dtype.INT8, ActivationScheme(SIGNED))
"""Signed symmetric int8, float biases, nothing on outputs: rules 1 to 5 of the placement."""
FP8 = Scheme("tensorrt-fp8", "TensorRT in FP8", Dtype.FP8, ActivationScheme(E4M3), WeightScheme(E4M3))
"""E4M3 for activations, one scale each, and for weights, one per output channel; sums and results in FP16."""
INT8_WEIGHTS = Scheme("tensorrt-int8wo", "TensorRT with INT8 weights", Dtype.INT8WO, None, WeightScheme(INT8))
"""Weights alone, a scale per output channel: half the bytes, products in FP16."""
INT4_WEIGHTS = Scheme("tensorrt-int4", "TensorRT with INT4 weights", Dtype.INT4, None, WeightScheme(INT4, 128))
"""Weights alone, a scale per output channel and 128 inputs: a quarter of the bytes, products in FP16."""
NVFP4 = Scheme(
    "tensorrt-nvfp4",
    "TensorRT in NVFP4",
    Dtype.NVFP4,
    ActivationScheme(E2M1, block=16, scales=Scales.E4M3),
    WeightScheme(E2M1, 16, Scales.E4M3),
)
"""FP4 with an FP8 scale per 16 inputs and one float32 per tensor; scales of activations are found as the model runs."""
MXFP8 = Scheme(
    "tensorrt-mxfp8",
    "TensorRT in MXFP8",
    Dtype.MXFP8,
    ActivationScheme(E4M3, block=32, scales=Scales.E8M0),
    WeightScheme(E4M3, 32, Scales.E8M0),
)
"""FP8 with a power of two per 32 inputs; scales of activations are found as the model runs."""
SCHEMES = {scheme.dtype: scheme for scheme in (TENSORRT, FP8, INT8_WEIGHTS, INT4_WEIGHTS, NVFP4, MXFP8)}
"""What TensorRT takes, by what the plan calls it."""
ONNXRUNTIME = Scheme(
    "cpu",
    "this CPU",
    Dtype.INT8,
    ActivationScheme(UNSIGNED, symmetric=False, fp16_scales=False),
    integer_biases=True,
    integer_results=True,
    on_cpu=True,
)
"""Unsigned asymmetric activations, int32 biases, outputs quantized: ONNX Runtime's integer kernels."""
CPU_INT4 = replace(INT4_WEIGHTS, name="cpu-int4", title="this CPU with INT4 weights", on_cpu=True)
"""What ONNX Runtime makes one kernel of, that reads the codes (MatMulNBits)."""


def for_this_cpu() -> Scheme:
    """``ONNXRUNTIME`` with weights as wide as this CPU multiplies without saturating."""
    return replace(ONNXRUNTIME, weights=WeightScheme(INT8.up_to(largest_weight_code())))
