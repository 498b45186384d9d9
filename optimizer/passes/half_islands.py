"""Which nodes stay FP32 when the rest of a graph becomes half precision, and why.

FP16 ends at 65504 and loses precision below 2^-14 (IEEE 754 binary16). What overflows or vanishes there stays FP32:
constants, observed activations (also those between the steps of one operator) and quantization scales out of range,
squares and roots, and arithmetic on shapes, where integers above 2048 are no longer exact. BF16 has the range of FP32,
so only the standard's own limits and sums apply to it. What these rules do not foresee, ``stages.islands`` finds by
simulation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from optimizer.passes.constants import constant_array
from optimizer.passes.half_types import deals_in_containers, half_slots
from optimizer.simulation.extremes import FILL, LARGEST, Extremes, relative_operand

SMALLEST_NORMAL = 2.0**-14
LARGEST_OBSERVED = LARGEST / 2
"""Calibration sees a sample of the data: twice the range it saw has to fit."""
MASK_FILL = FILL
"""Constants at or beyond this only ever hide attention scores or bound a Clip: they saturate instead of overflowing."""
_ADDED_ONE_BY_ONE = 32
"""Terms of a sum over axes that are not the last: kernels may add those one by one in FP16, and lose 3 dB for each
doubling of their number (55 dB at 200 terms in numpy, where one rounding leaves 72)."""

_BODIES = {"Loop", "Scan", "SequenceMap"}
_RANDOM = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "EyeLike"),
    *("Bernoulli", "Multinomial"),
}
_RECURRENT, _LENGTHS = {"LSTM", "GRU", "RNN"}, 4
"""Recurrent nets, and which of their inputs holds the lengths of sequences."""
_COORDINATES = {"GridSample", "AffineGrid", "RoiAlign", "MaxRoiPool"}
_WIDE_RANGE = {
    *("Sqrt", "Reciprocal", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "CumSum"),
    *("Det", "STFT", "DFT", "MelWeightMatrix", "LpNormalization", "MeanVarianceNormalization", "LpPool"),
    "GlobalLpPool",
}
_SUMS = _WIDE_RANGE | {
    *("ReduceSum", "ReduceMean", "ReduceL1", "GlobalAveragePool"),
    *("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization"),
}
"""Operators that add up many values; where a kernel does so in BF16 they keep 20 dB of its 54."""
_OVERFLOWS = {"Exp", "Pow"}
_MOVES = {"Expand", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Concat", "Tile"}
_SATURATES = {"Clip", "Max", "Min"}
_NEVER_SHAPES = {"If", "QuantizeLinear", "DequantizeLinear"}
"""What is quantized is data, even where it is made from shapes alone (zeros expanded to queries): TensorRT wants the
scales of both operands of a product in one type."""
_OF_SHAPES = "arithmetic on shapes"
_LARGEST_CODE = 127
_MAKERS = 4
"""Nodes before a root or division that make its operand: square, mean, sum with an epsilon, bound."""
_NO_MAKERS = {  # products are worth their casts: FP32 on both sides of one is no reason to leave it in FP32
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "If",
    "QuantizeLinear",
    "DequantizeLinear",
}
_INTEGERS = {ir.DataType.INT64, ir.DataType.INT32}


@dataclass(frozen=True)
class IslandRules:
    """Inputs of the choice: the half-precision type, nodes to leave in FP32 with the reason, and observed extremes."""

    dtype: ir.DataType
    keep: Mapping[str, str]
    extremes: Extremes


def choose_islands(model: ir.Model, rules: IslandRules) -> dict[ir.Node, str]:
    """Node -> why it stays FP32. Control flow other than If stays FP32 with its body."""
    islands: dict[ir.Node, str] = {}
    of_shapes = _shape_arithmetic(model)
    opset = model.opset_imports.get("", 21)
    nodes = list(_nodes(model.graph))
    for node in nodes:
        reason = _limit_of_standard(node, opset, rules.dtype) or rules.keep.get(str(node.name), "")
        if not reason and node in of_shapes:
            reason = _OF_SHAPES
        if not reason and rules.dtype == ir.DataType.FLOAT16:
            reason = _range_reason(node, rules.extremes)
        elif not reason and node.op_type in _SUMS:
            reason = "sums of 8 bits in BF16"
        if reason:
            islands[node] = reason
    if rules.dtype == ir.DataType.FLOAT16:
        _reach_back(nodes, islands, rules.extremes)
        _widen(nodes, islands)
    _join_quantizers(nodes, islands)
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
    if deals_in_containers(node.op_type, opset):
        return "sequences and optionals stay FP32"
    if node.op_type in _COORDINATES:
        return f"coordinates need more digits than {dtype.name} has"
    if node.op_type == "BitCast":
        return "reads the bits of its operand"
    if node.op_type in _RANDOM:
        return "generates its output in FP32"
    if node.op_type.startswith("Scatter") and node.attributes.get_string("reduction", "none") != "none":
        return "sums as many values as arrive in one place, for which ONNX Runtime has no 16-bit form"
    if node.op_type in _RECURRENT and len(node.inputs) > _LENGTHS and node.inputs[_LENGTHS] is not None:
        return "TensorRT masks the steps beyond each sequence's length with FP32 zeros"
    slots = half_slots(node.op_type, opset, dtype)
    if slots is None:
        return "operator unknown to the ONNX standard"
    floats = [i for i, value in enumerate(node.inputs) if value is not None and value.dtype == ir.DataType.FLOAT]
    if floats and not slots.input(floats[0]) and node.op_type != "If":
        return f"{node.op_type} has no {dtype.name} form"
    return ""


def _range_reason(node: ir.Node, extremes: Extremes) -> str:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _scale_reason(node)
    if node.op_type in _WIDE_RANGE:
        return "squares, roots and products leave FP16's range"
    values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype == ir.DataType.FLOAT]
    observed = max((observed_size(value, extremes.largest) for value in values), default=0.0)
    if observed > LARGEST_OBSERVED:
        return f"observed values up to {observed:.3g} overflow FP16"
    within = extremes.within.get(str(node.name), 0.0)
    if within > LARGEST_OBSERVED:
        return f"its sums or squares, observed up to {within:.3g}, overflow FP16"
    if node.op_type in _OVERFLOWS and not _is_cube(node) and str(node.outputs[0].name) not in extremes.largest:
        return "may overflow FP16"
    hides = bool(node.outputs) and all(str(value.name) in extremes.fills for value in node.outputs)
    return _digits_reason(node, extremes) or _constant_reason(node, hides)


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
        return "integers above 2048 are not exact in FP16"
    least = _least_operand(node, extremes)
    if least < SMALLEST_NORMAL:
        return f"its operand, observed down to {least:.3g}, vanishes in FP16"
    if _adds_one_by_one(node):
        return "adds up many values"
    return ""


def _least_operand(node: ir.Node, extremes: Extremes) -> float:
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
    if np.any(scale < SMALLEST_NORMAL) or np.any(scale > LARGEST):
        return f"scale {float(scale.min()):.3g} is not a normal FP16 number"
    if _LARGEST_CODE * float(scale.max()) > LARGEST:
        return f"codes times scale {float(scale.max()):.3g} overflow FP16"
    return ""


def _is_cube(node: ir.Node) -> bool:
    """x^3 of the tanh form of GELU, which stays fused when it is half precision like its neighbours."""
    exponent = constant_array(node.inputs[1]) if node.op_type == "Pow" else None
    return exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 3.0


def _exact_integers_lost(node: ir.Node, largest: Mapping[str, float]) -> bool:
    source = node.inputs[0] if node.op_type == "Cast" else None
    is_count = source is not None and source.dtype in _INTEGERS
    return is_count and largest.get(str(node.outputs[0].name), 0.0) > 2048


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


def _widen(nodes: list[ir.Node], islands: dict[ir.Node, str]) -> None:
    """Divisions by an FP32 result, and nodes with FP32 on all sides, join the island they touch."""
    for _ in range(3):
        for node in nodes:
            if node in islands or node.op_type in _NO_MAKERS:
                continue
            if node.op_type == "Div" and _computed_wide(node.inputs[1], islands):
                islands[node] = "divides by an FP32 result"
            elif _enclosed(node, islands):
                islands[node] = "between FP32 nodes"


def _reach_back(nodes: list[ir.Node], islands: dict[ir.Node, str], extremes: Extremes) -> None:
    """A small number that a root or division reads is computed in FP32, not only read so."""
    front = [node for node in nodes if node in islands and _least_operand(node, extremes) < SMALLEST_NORMAL]
    for _ in range(_MAKERS):
        made = (value.producer() for node in front for value in node.inputs if value is not None)
        front = [
            node
            for node in dict.fromkeys(made)
            if node is not None and node not in islands and node.op_type not in _NO_MAKERS and _has_half(node)
        ]
        islands |= dict.fromkeys(front, "makes a number that vanishes in FP16")


def _has_half(node: ir.Node) -> bool:
    return any(value.dtype == ir.DataType.FLOAT for value in node.outputs)


def _join_quantizers(nodes: list[ir.Node], islands: dict[ir.Node, str]) -> None:
    """Q of an FP32 value and DQ for FP32 readers are FP32 themselves: a Cast beside them would undo their fusion."""
    for node in nodes:
        producer = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if (
            node.op_type == "QuantizeLinear"
            and producer is not None
            and islands.get(producer, _OF_SHAPES) != _OF_SHAPES
        ):
            islands.setdefault(node, "its data is FP32")
        elif node.op_type == "DequantizeLinear":
            readers = [user for user, _ in node.outputs[0].uses()]
            if readers and all(reader in islands for reader in readers):
                islands.setdefault(node, "read in FP32")


def _computed_wide(value: ir.Value | None, islands: Mapping[ir.Node, str]) -> bool:
    node = value.producer() if value is not None else None
    while node is not None and node not in islands and node.op_type in _MOVES:
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return node is not None and node in islands and islands[node] != _OF_SHAPES


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
