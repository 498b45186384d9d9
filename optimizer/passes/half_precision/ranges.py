"""What observed numbers, constants and scales say against FP16, node by node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array
from graphs.reading.number_types import CODE_MAX, SMALLEST_SCALE
from optimizer.simulation.extremes import FILL, LARGEST, Extremes, relative_operand

SMALLEST_NORMAL = 2.0**-14
"""Of float16 (IEEE 754 binary16): below it, digits are lost."""
LARGEST_OBSERVED = LARGEST / 2
"""Calibration sees a sample of the data: twice the range it saw has to fit."""
MASK_FILL = FILL
"""Constants at or beyond this only ever hide attention scores or bound a Clip: they saturate instead of overflowing."""
_ADDED_ONE_BY_ONE = 32
"""Terms of a sum over axes that are not the last: kernels may add those one by one in FP16, and lose 3 dB for each
doubling of their number (55 dB at 200 terms in numpy, where one rounding leaves 72). Chosen."""

WIDE_RANGE = {
    *("Sqrt", "Reciprocal", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "CumSum"),
    *("Det", "STFT", "DFT", "MelWeightMatrix", "LpNormalization", "MeanVarianceNormalization", "LpPool"),
    "GlobalLpPool",
}
_OVERFLOWS = {"Exp", "Pow"}
_SATURATES = {"Clip", "Max", "Min"}
_EXACT = 2048
"""Whole numbers up to here are exact in FP16, whose significand has 11 bits."""
_INTEGERS = {ir.DataType.INT64, ir.DataType.INT32}


def range_reason(node: ir.Node, extremes: Extremes) -> str:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _scale_reason(node)
    if node.op_type in WIDE_RANGE:
        return "squares, roots and products leave FP16's range"
    values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype == ir.DataType.FLOAT]
    observed = max((observed_size(value, extremes.largest) for value in values), default=0.0)
    if observed > LARGEST_OBSERVED:
        return f"observed values up to {observed:.3g} overflow FP16"
    if node.op_type == "Mul" and (faint := _faintest(values, extremes.largest)) < SMALLEST_NORMAL:
        return f"observed values of at most {faint:.3g} lose their digits in FP16"
    within = extremes.within.get(str(node.name), 0.0)
    if within > LARGEST_OBSERVED:
        return f"its sums or squares, observed up to {within:.3g}, overflow FP16"
    if node.op_type in _OVERFLOWS and not _is_cube(node) and str(node.outputs[0].name) not in extremes.largest:
        return "may overflow FP16"
    hides = bool(node.outputs) and all(str(value.name) in extremes.fills for value in node.outputs)
    return _digits_reason(node, extremes) or _constant_reason(node, hides)


def _faintest(values: Sequence[ir.Value], largest: Mapping[str, float]) -> float:
    """Of those that were observed and are not zero, the one that reaches least far; infinite for none."""
    sizes = (observed_size(value, largest) for value in values)
    return min((size for size in sizes if size > 0), default=math.inf)


def observed_size(value: ir.Value, largest: Mapping[str, float]) -> float:
    """The largest magnitude seen of ``value``, or of what it was before it was quantized."""
    for op_type in ("DequantizeLinear", "QuantizeLinear"):
        producer = value.producer() if value.name not in largest else None
        if producer is not None and producer.op_type == op_type and producer.inputs[0] is not None:
            value = producer.inputs[0]
    return largest.get(str(value.name), 0.0)


def _digits_reason(node: ir.Node, extremes: Extremes) -> str:
    """What would lose its digits in FP16, though nothing overflows."""
    if _exact_integers_lost(node, extremes.largest):
        return f"integers above {_EXACT} are not exact in FP16"
    least = least_operand(node, extremes)
    if least < SMALLEST_NORMAL:
        return f"its operand, observed down to {least:.3g}, vanishes in FP16"
    if _adds_one_by_one(node):
        return "adds up many values"
    return ""


def least_operand(node: ir.Node, extremes: Extremes) -> float:
    """The smallest magnitude seen of an operand whose every digit counts; one where there is none."""
    operand = relative_operand(node)
    return 1.0 if operand is None else extremes.least.get(str(operand.name), 1.0)


def _adds_one_by_one(node: ir.Node) -> bool:
    """A sum or mean over more than a few values that do not lie side by side."""
    if node.op_type not in ("ReduceSum", "ReduceMean") or len(node.inputs) < 2:
        return False
    axes, data = constant_array(node.inputs[1]), node.inputs[0]
    shape = data.shape if data is not None else None
    if axes is None or axes.size == 0:
        return axes is None and node.inputs[1] is not None
    rank = len(shape) if shape is not None else None
    behind = sorted(int(axis) - rank if axis >= 0 and rank is not None else int(axis) for axis in axes.reshape(-1))
    if behind == list(range(-len(behind), 0)):
        return False
    sizes = [shape[axis] for axis in behind] if shape is not None else [None]
    return math.prod(size if isinstance(size, int) else _ADDED_ONE_BY_ONE + 1 for size in sizes) > _ADDED_ONE_BY_ONE


def _scale_reason(node: ir.Node) -> str:
    scale = constant_array(node.inputs[1])
    if scale is None or scale.dtype != np.float32 or not scale.size:
        return ""
    if np.any(scale < SMALLEST_SCALE) or np.any(scale > LARGEST):
        return f"scale {float(scale.min()):.3g} is beyond what FP16 can hold"
    if CODE_MAX * float(scale.max()) > LARGEST:
        return f"codes times scale {float(scale.max()):.3g} overflow FP16"
    return ""


def _is_cube(node: ir.Node) -> bool:
    """x^3 of the tanh form of GELU, which stays fused when it is half precision like its neighbours."""
    exponent = constant_array(node.inputs[1]) if node.op_type == "Pow" else None
    return exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 3.0


def _exact_integers_lost(node: ir.Node, largest: Mapping[str, float]) -> bool:
    source = node.inputs[0] if node.op_type == "Cast" else None
    is_count = source is not None and source.dtype in _INTEGERS
    return is_count and largest.get(str(node.outputs[0].name), 0.0) > _EXACT


def _constant_reason(node: ir.Node, hides: bool) -> str:
    """``hides``: the node fills in what hides other values, and may saturate."""
    for value in node.inputs:
        if value is None or value.dtype != ir.DataType.FLOAT:
            continue
        array = constant_array(value)
        if array is None or array.size == 0:
            continue
        largest = largest_finite(array)
        if 0 < largest < SMALLEST_NORMAL:
            return f"constant {value.name!r} vanishes in FP16"
        if LARGEST < largest < MASK_FILL and node.op_type not in _SATURATES and not hides:
            return f"constant {value.name!r} overflows FP16"
    return ""


def largest_finite(array: np.ndarray) -> float:
    """Largest finite magnitude, without a copy of the array where it is all finite."""
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        finite = array[np.isfinite(array)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return max(abs(low), abs(high))
