"""Quantization schemes: how activations, weights and biases become codes in the Q/DQ that a runtime executes well.

A scheme is a value: placement, insertion, the corrections' arithmetic and the names of stages all follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import TensorRange
from engines.onnxruntime.integer_products import largest_weight_code
from graphs.constants import constant_tensor
from optimizer.quantization.affine import FRACTIONS, Affine, best
from optimizer.quantization.weights import CODE_MAX, Floats, anchored, fp16_representable

Parameters: TypeAlias = "tuple[Floats, NDArray[np.int8 | np.uint8]]"
"""Scale and zero point of an activation, scalars."""


@dataclass(frozen=True)
class ActivationScheme:
    """Codes of activations, one scale per tensor: from ``lowest`` to ``highest``, of type ``dtype``. ``symmetric``: the
    zero point is 0. ``fp16_scales``: scales are numbers that FP16 holds, since typing the graph stores them so.
    """

    dtype: ir.DataType
    symmetric: bool
    lowest: int
    highest: int
    fp16_scales: bool

    def quantizer(self, value: ir.Value, found: TensorRange) -> Affine:
        """How ``value``, whose range was ``found``, goes to codes and back."""
        if not self.symmetric:
            scale, zero = found.uint8_scale()
            return Affine(scale, min(max(zero, self.lowest), self.highest), self.lowest, self.highest)
        scale = found.int8_scale()
        if self.fp16_scales:
            rounded = fp16_representable(scale)
            bound = _lower_bound(value)
            scale = float(rounded if bound is None else anchored(rounded, bound))
        return Affine(scale, 0, self.lowest, self.highest)

    def best(self, values: Floats, ends: Floats) -> Affine:
        """The quantizer with the least squared error on ``values``; ``ends`` are known to be reached. Both ends of an
        asymmetric one are drawn in alike.
        """
        if self.symmetric:
            top = float(np.abs(ends).max(initial=0.0)) or 1.0
            return best((Affine(top * f / self.highest, 0, self.lowest, self.highest) for f in FRACTIONS), values)
        low, high = float(ends.min(initial=0.0)), float(ends.max(initial=0.0))
        full = (high - low) / (self.highest - self.lowest) or 1.0
        tried = (Affine(full * f, self.lowest + round(-low / full), self.lowest, self.highest) for f in FRACTIONS)
        return best(tried, values)

    def parameters(self, value: ir.Value, found: TensorRange) -> Parameters:
        """What the Q and DQ of ``value`` read: the scale as float32, the zero point as the codes' type."""
        quantizer = self.quantizer(value, found)
        return np.asarray(quantizer.scale, np.float32), np.asarray(quantizer.zero, self.dtype.numpy())


@dataclass(frozen=True)
class WeightScheme:
    """Codes of weights: int8, symmetric, a scale per output channel, from ``-highest`` to ``highest``."""

    highest: int = CODE_MAX


@dataclass(frozen=True)
class Scheme:
    """``integer_biases``: constant biases become int32 codes. ``integer_results``: outputs are quantized, too, so that
    chains of ops stay integer. ``name`` is part of stages' names, ``title`` is for people.
    """

    name: str
    title: str
    activations: ActivationScheme
    weights: WeightScheme = WeightScheme()
    integer_biases: bool = False
    integer_results: bool = False


def _lower_bound(value: ir.Value) -> float | None:
    """The lower bound of the Clip that makes ``value``: many elements share it, so it has to be a code."""
    producer = value.producer()
    if producer is None or producer.op_type != "Clip" or len(producer.inputs) < 2:
        return None
    bound = constant_tensor(producer.inputs[1])
    return float(bound.numpy()) if bound is not None else None


TENSORRT = Scheme("tensorrt", "TensorRT", ActivationScheme(ir.DataType.INT8, True, -CODE_MAX - 1, CODE_MAX, True))
"""Signed symmetric int8, float biases, nothing on outputs: rules 1 to 5 of the placement."""
ONNXRUNTIME = Scheme(
    "cpu",
    "this CPU",
    ActivationScheme(ir.DataType.UINT8, False, 0, 2 * CODE_MAX + 1, False),
    integer_biases=True,
    integer_results=True,
)
"""Unsigned asymmetric activations, int32 biases, outputs quantized: ONNX Runtime's integer kernels."""


def for_this_cpu() -> Scheme:
    """``ONNXRUNTIME`` with weights as wide as this CPU multiplies without saturating."""
    return replace(ONNXRUNTIME, weights=WeightScheme(largest_weight_code()))
