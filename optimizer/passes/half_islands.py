"""Which nodes stay FP32 when the rest of a graph becomes half precision, and why.

FP16 ends at 65504 and loses precision below 2^-14 (IEEE 754 binary16). What overflows or vanishes there stays FP32:
constants, observed ranges and quantization scales out of range, squares and roots, and arithmetic on shapes, where
integers above 2048 are no longer exact. BF16 has the range of FP32, so only the standard's own limits apply to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from optimizer.passes.constants import constant_array
from optimizer.passes.half_types import half_slots

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14
LARGEST_OBSERVED = LARGEST / 2
"""Calibration sees a sample of the data: twice the range it saw has to fit."""
MASK_FILL = 1e8
"""Constants at or beyond this only ever hide attention scores or bound a Clip: they saturate instead of overflowing."""

_BODIES = {"Loop", "Scan", "SequenceMap"}
_RANDOM = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "EyeLike"),
    *("Bernoulli", "Multinomial"),
}
_WIDE_RANGE = {
    *("Sqrt", "Reciprocal", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "CumSum"),
    *("Det", "STFT", "DFT", "MelWeightMatrix"),
}
_OVERFLOWS = {"Exp", "Pow"}
_MOVES = {"Expand", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Concat", "Tile"}
_SATURATES = {"Clip", "Max", "Min"}
_NEVER_SHAPES = {"If", "QuantizeLinear", "DequantizeLinear"}
"""What is quantized is data, even where it is made from shapes alone (zeros expanded to queries): TensorRT wants the
scales of both operands of a product in one type."""
_INTEGERS = {ir.DataType.INT64, ir.DataType.INT32}


@dataclass(frozen=True)
class IslandRules:
    """Inputs of the choice: names asked for, observed absolute maxima per tensor, and the half-precision type."""

    dtype: ir.DataType
    keep: Collection[str]
    absmax: Mapping[str, float]


def choose_islands(model: ir.Model, rules: IslandRules) -> dict[ir.Node, str]:
    """Node -> why it stays FP32. Control flow other than If stays FP32 with its body."""
    islands: dict[ir.Node, str] = {}
    of_shapes = _shape_arithmetic(model)
    opset = model.opset_imports.get("", 21)
    nodes = list(_nodes(model.graph))
    for node in nodes:
        reason = _limit_of_standard(node, opset, rules.dtype) or ("asked for" if node.name in rules.keep else "")
        if not reason and node in of_shapes:
            reason = "arithmetic on shapes"
        if not reason and rules.dtype == ir.DataType.FLOAT16:
            reason = _range_reason(node, rules.absmax)
        if reason:
            islands[node] = reason
    if rules.dtype == ir.DataType.FLOAT16:
        _widen(nodes, islands)
    return islands


def _nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Nodes whose precision is chosen: bodies of Loop and Scan follow their node."""
    for node in graph:
        yield node
        if node.op_type == "If":
            for attribute in node.attributes.values():
                yield from _nodes(attribute.as_graph())


def _limit_of_standard(node: ir.Node, opset: int, dtype: ir.DataType) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f"operator of domain {node.domain}"
    if node.op_type in _BODIES:
        return "loop body: accumulators stay FP32"
    if node.op_type in _RANDOM:
        return "generates its output in FP32"
    slots = half_slots(node.op_type, opset, dtype)
    if slots is None:
        return "operator unknown to the ONNX standard"
    floats = [i for i, value in enumerate(node.inputs) if value is not None and value.dtype == ir.DataType.FLOAT]
    if floats and not slots.input(floats[0]) and node.op_type != "If":
        return f"{node.op_type} has no {dtype.name} form"
    return ""


def _range_reason(node: ir.Node, absmax: Mapping[str, float]) -> str:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _scale_reason(node)
    if node.op_type in _WIDE_RANGE:
        return "squares, roots and products leave FP16's range"
    values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype == ir.DataType.FLOAT]
    observed = max((absmax.get(str(value.name), 0.0) for value in values), default=0.0)
    if LARGEST_OBSERVED < observed < MASK_FILL:
        return f"observed values up to {observed:.3g} overflow FP16"
    if node.op_type in _OVERFLOWS and not _is_cube(node) and str(node.outputs[0].name) not in absmax:
        return "may overflow FP16"
    if _exact_integers_lost(node, absmax):
        return "integers above 2048 are not exact in FP16"
    return _constant_reason(node)


def _scale_reason(node: ir.Node) -> str:
    scale = constant_array(node.inputs[1])
    if scale is None or scale.dtype != np.float32:
        return ""
    if np.any(scale < SMALLEST_NORMAL) or np.any(scale > LARGEST):
        return f"scale {float(scale.min()):.3g} is not a normal FP16 number"
    return ""


def _is_cube(node: ir.Node) -> bool:
    """x^3 of the tanh form of GELU, which stays fused when it is half precision like its neighbours."""
    exponent = constant_array(node.inputs[1]) if node.op_type == "Pow" else None
    return exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 3.0


def _exact_integers_lost(node: ir.Node, absmax: Mapping[str, float]) -> bool:
    source = node.inputs[0] if node.op_type == "Cast" else None
    is_count = source is not None and source.dtype in _INTEGERS
    return is_count and 2048 < absmax.get(str(node.outputs[0].name), 0.0) < MASK_FILL


def _constant_reason(node: ir.Node) -> str:
    for value in node.inputs:
        if value is None or value.dtype != ir.DataType.FLOAT:
            continue
        array = constant_array(value)
        if array is None or array.size == 0:
            continue
        largest = _largest_finite(array)
        if 0 < largest < SMALLEST_NORMAL:
            return f"constant {value.name!r} vanishes in FP16"
        if LARGEST < largest < MASK_FILL and node.op_type not in _SATURATES:
            return f"constant {value.name!r} overflows FP16"
    return ""


def _largest_finite(array: np.ndarray) -> float:
    """Largest finite magnitude, without a copy of the array where it is all finite."""
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        finite = array[np.isfinite(array)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return max(abs(low), abs(high))


def _widen(nodes: list[ir.Node], islands: dict[ir.Node, str]) -> None:
    """Divisions by an FP32 result, and nodes with FP32 on all sides, join the island they touch."""
    for _ in range(3):
        for node in nodes:
            if node in islands or node.op_type in ("If", "QuantizeLinear", "DequantizeLinear"):
                continue
            if node.op_type == "Div" and _computed_wide(node.inputs[1], islands):
                islands[node] = "divides by an FP32 result"
            elif _enclosed(node, islands):
                islands[node] = "between FP32 nodes"


def _computed_wide(value: ir.Value | None, islands: Mapping[ir.Node, str]) -> bool:
    node = value.producer() if value is not None else None
    while node is not None and node not in islands and node.op_type in _MOVES:
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return node is not None and node in islands and islands[node] != "arithmetic on shapes"


def _enclosed(node: ir.Node, islands: Mapping[ir.Node, str]) -> bool:
    if not any(value.dtype == ir.DataType.FLOAT for value in node.outputs):
        return False
    sources = [v.producer() for v in node.inputs if v is not None and v.dtype == ir.DataType.FLOAT and _varies(v)]
    sinks = [user for value in node.outputs for user, _ in value.uses()]
    if not sources or not sinks or any(value.is_graph_output() for value in node.outputs):
        return False
    return all(source in islands for source in sources) and all(sink in islands for sink in sinks)


def _varies(value: ir.Value) -> bool:
    return not value.is_initializer()


def _shape_arithmetic(model: ir.Model) -> set[ir.Node]:
    """Nodes that compute from nothing but shapes and small constants, directly or over other such nodes.

    A lookup in a table of weights by such an index gives data, not shapes.
    """
    seeds: set[ir.Node] = set()
    found: set[ir.Node] = set()
    for node in _nodes(model.graph):
        if node.op_type in ("Shape", "Size"):
            seeds.add(node)
            continue
        producers = [value.producer() for value in node.inputs if value is not None and _varies(value)]
        derived = producers and all(producer in found or producer in seeds for producer in producers)
        if derived and node.op_type not in _NEVER_SHAPES and not any(_is_table(value) for value in node.inputs):
            found.add(node)
    return found


def _is_table(value: ir.Value | None) -> bool:
    constant = value.const_value if value is not None else None
    return constant is not None and constant.dtype == ir.DataType.FLOAT and constant.size > 64
