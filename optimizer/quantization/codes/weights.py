"""Weights to codes: one scale per output channel, rounded to what FP16 can hold; int8 in [-127, 127] or others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.reading.constants import along
from graphs.reading.number_types import INT8, SMALLEST_SCALE, Codes, Floats, NumberType
from graphs.writing.lazy_tensors import lazily

_LARGEST = 2.0**112
"""A scale above FP16's range is halved, with its data, when the graph is typed; codes times this fit FP32."""
SMALLEST_OF_DATA = 2.0**-100
"""A scale below FP16's range is multiplied, with its data, when the graph is typed; FP32 holds its reciprocal."""
_BITS, _LAST = 11, -24  # of an FP16 number's significand; the exponent of the last bit of a subnormal one
_IN_CACHE = 1 << 16
"""Elements worked on at a time: with a temporary as large, what a core's second-level cache holds (512 KiB)."""


def fp16_representable(scales: NDArray[np.floating] | float, smallest: float = SMALLEST_SCALE) -> Floats:
    """Positive scales moved to the nearest FP16 value, or a power of two times one where they are larger or below
    ``SMALLEST_SCALE``, so that typing the graph FP16 changes no scale. None ends below ``smallest``.
    """
    clipped = np.clip(np.asarray(scales, np.float64), smallest, _LARGEST)
    last = np.frexp(clipped)[1] - _BITS
    last = np.where(clipped < SMALLEST_SCALE, last, np.maximum(last, _LAST))
    moved: Floats = np.ldexp(np.rint(np.ldexp(clipped, -last)), last).astype(np.float32)
    return moved


def anchored(scale: Floats, anchor: float) -> Floats:
    """``scale`` moved a little so that ``anchor`` (a value many elements share) is a whole number of steps.

    Where half of a tensor sits at one value, its rounding error is a bias, not noise.
    """
    steps = round(abs(anchor) / float(scale))
    return fp16_representable(abs(anchor) / steps, SMALLEST_OF_DATA) if steps else scale


def per_channel(values: Floats, axis: int, scale: Floats) -> Floats:
    """``scale`` shaped to broadcast along ``axis`` of ``values``."""
    return along(scale, axis, values.ndim)


def mse_scales(
    values: Floats, axis: int, *, numbers: NumberType = INT8, steps: int = 24, smallest: float = 0.6
) -> Floats:
    """Scale of every slice with the least mean squared rounding-plus-clipping error.

    Searches ``steps`` fractions from ``smallest`` to one of the slice's largest magnitude (the grid of OMSE, Choukroun
    et al. 2019), a few slices at a time.
    """
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    few = max(_IN_CACHE // max(rows.shape[1], 1), 1)
    parts = [_mse_scales(rows[start : start + few], numbers, steps, smallest) for start in range(0, len(rows), few)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _mse_scales(rows: Floats, numbers: NumberType, steps: int, smallest: float) -> Floats:
    """Of a few ``rows``: [rows]."""
    full = np.abs(rows).max(axis=1, initial=0.0) / numbers.highest
    best, best_error = fp16_representable(full), np.full(len(rows), np.inf, np.float32)
    error = np.empty(rows.shape, np.float32)
    for fraction in np.linspace(smallest, 1.0, steps):
        scale = fp16_representable(full * fraction)
        np.divide(rows, scale[:, None], out=error)
        numbers.round(error)
        error *= scale[:, None]
        error -= rows
        power = np.einsum("ij,ij->i", error, error)
        better = power < best_error
        best, best_error = np.where(better, scale, best), np.where(better, power, best_error)
    return best


def quantize(values: Floats, axis: int, scale: Floats, numbers: NumberType = INT8) -> Codes:
    """The codes nearest to ``values / scale``."""
    codes = np.empty(values.shape, numbers.numpy)
    few = max(_IN_CACHE // max(values[:1].size, 1), 1)
    for start in range(0, len(values), few):
        part = slice(start, start + few)
        steps = values[part] / per_channel(values, axis, scale)[part if axis == 0 else slice(None)]
        numbers.round(steps)
        codes[part] = steps
    return codes


def as_float32(tensor: ir.TensorProtocol) -> Floats:
    """The tensor's values; a view of the mapped file where it is already float32."""
    return np.asarray(tensor.numpy()).astype(np.float32, copy=False)


def lazy_codes(
    tensor: ir.TensorProtocol, axis: int, scale: Floats, name: str, numbers: NumberType = INT8
) -> ir.TensorProtocol:
    """Codes computed when the model is saved or run."""

    def codes(values: Floats) -> Codes:
        return quantize(values.astype(np.float32, copy=False), axis, scale, numbers)

    return lazily(codes, tensor, name, dtype=numbers.dtype)


@dataclass(frozen=True)
class QuantizedWeight:
    """Codes and scales a correction settled on for one weight, in place of plain rounding; ``bias`` [output channels]
    is what the rounded op's output needs on top."""

    codes: Codes
    scale: Floats
    bias: Floats | None = None


ScaleSearch = Callable[[ir.TensorProtocol, int, NumberType], Floats]
"""Finds the scales of a weight, one per slice along an axis, for codes of a type: [slices]."""


class WeightScales:
    """``mse_scales`` of weights, found once each however many graphs are made of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, NumberType], tuple[ir.TensorProtocol, Floats]] = {}

    def __call__(self, tensor: ir.TensorProtocol, axis: int, numbers: NumberType) -> Floats:
        key = id(tensor), axis, numbers
        if key not in self._found:  # the tensor is kept too: its id stays its own
            self._found[key] = tensor, mse_scales(as_float32(tensor), axis, numbers=numbers)
        return self._found[key][1]
