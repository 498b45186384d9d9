"""Which nodes stay FP32 when the rest of a graph becomes half precision, and why.

FP16 ends at 65504 and loses precision below 2^-14 (IEEE 754 binary16). What overflows or vanishes there stays FP32:
constants, observed activations (also those between the steps of one operator) and quantization scales out of range,
squares and roots, and arithmetic on shapes, where integers above 2048 are no longer exact. BF16 has the range of FP32,
so only the standard's own limits and sums apply to it. What these rules do not foresee, ``typed.islands`` finds by
simulation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from graphs.reading.constants import constant_array
from graphs.reading.containers import deals_in_containers
from graphs.reading.operators import MOVING, is_standard
from optimizer.passes.half_precision.ranges import SMALLEST_NORMAL, WIDE_RANGE, least_operand, range_reason
from optimizer.passes.half_precision.slots import half_slots
from optimizer.simulation.extremes import Extremes

_BODIES = {"Loop", "Scan", "SequenceMap"}
_RANDOM = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "EyeLike"),
    *("Bernoulli", "Multinomial"),
}
_RECURRENT, _LENGTHS = {"LSTM", "GRU", "RNN"}, 4
"""Recurrent nets, and which of their inputs holds the lengths of sequences."""
_COORDINATES = {"GridSample", "AffineGrid", "RoiAlign", "MaxRoiPool"}
_SUMS = WIDE_RANGE | {
    *("ReduceSum", "ReduceMean", "ReduceL1", "GlobalAveragePool"),
    *("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization"),
}
"""Operators that add up many values; where a kernel does so in BF16 they keep 20 dB of its 54."""
_MOVES = MOVING | {"Concat"}
_NEVER_SHAPES = {"If", "QuantizeLinear", "DequantizeLinear"}
"""What is quantized is data, even where it is made from shapes alone (zeros expanded to queries): TensorRT wants the
scales of both operands of a product in one type."""
_OF_SHAPES = "arithmetic on shapes"
_TABLE = 64
"""Numbers from which on a constant that shapes are looked up in is data, no arithmetic on them. Chosen."""
_MAKERS = 4
"""Nodes before a root or division that make its operand: square, mean, sum with an epsilon, bound. Chosen."""
_NO_MAKERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "If", "QuantizeLinear", "DequantizeLinear"}
"""Products are worth their casts: FP32 on both sides of one is no reason to leave it in FP32."""


@dataclass(frozen=True)
class IslandRules:
    """Inputs of the choice: the half-precision type, nodes to leave in FP32 with the reason, observed extremes, and
    nodes that are to be in ``half`` precision: they stay FP32 for what they are, never for what they stand beside."""

    dtype: ir.DataType
    keep: Mapping[str, str]
    extremes: Extremes
    half: frozenset[str] = frozenset()


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
            reason = range_reason(node, rules.extremes)
        elif not reason and node.op_type in _SUMS:
            reason = "sums of 8 bits in BF16"
        if reason:
            islands[node] = reason
    themselves = set(islands)
    _join_rounded(nodes, islands)
    if rules.dtype == ir.DataType.FLOAT16:
        _reach_back(nodes, islands, rules.extremes)
    _widen(nodes, islands, divisions=rules.dtype == ir.DataType.FLOAT16)
    for node in [node for node in islands if node not in themselves and node.name in rules.half]:
        del islands[node]
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
    if not is_standard(node):
        return f"operator of domain {node.domain}"
    if _scales_in_two_levels(node):
        return "scales of blocks stand under a float32"
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


def _scales_in_two_levels(node: ir.Node) -> bool:
    """Whether a DequantizeLinear makes scales for another, or has such scales."""
    if node.op_type != "DequantizeLinear" or node.inputs[1] is None:
        return False
    scale = node.inputs[1].producer()
    makes = any(use.idx == 1 and use.node.op_type == "DequantizeLinear" for use in node.outputs[0].uses())
    return makes or (scale is not None and scale.op_type == "DequantizeLinear")


def _widen(nodes: list[ir.Node], islands: dict[ir.Node, str], *, divisions: bool) -> None:
    """Divisions by an FP32 result, and nodes with FP32 on all sides, join the island they touch."""
    for _ in range(3):
        for node in nodes:
            if node in islands or node.op_type in _NO_MAKERS:
                continue
            if divisions and node.op_type == "Div" and _computed_wide(node.inputs[1], islands):
                islands[node] = "divides by an FP32 result"
            elif _enclosed(node, islands):
                islands[node] = "between FP32 nodes"


def _reach_back(nodes: list[ir.Node], islands: dict[ir.Node, str], extremes: Extremes) -> None:
    """A small number that a root or division reads is computed in FP32, not only read so."""
    front = [node for node in nodes if node in islands and least_operand(node, extremes) < SMALLEST_NORMAL]
    for _ in range(_MAKERS):
        made = (value.producer() for node in front for value in node.inputs if value is not None)
        front = [
            node
            for node in dict.fromkeys(made)
            if node is not None and node not in islands and node.op_type not in _NO_MAKERS and _has_half(node)
        ]
        islands |= dict.fromkeys(front, "makes a number that vanishes in FP16")


def _join_rounded(nodes: list[ir.Node], islands: dict[ir.Node, str]) -> None:
    """What becomes an integer (an index, a code of a quantization written out) is FP32 from the last product on: its
    last digits decide which integer it becomes.
    """
    front = [node for node in nodes if _to_integer(node)]
    seen = set(front)
    while front:
        node = front.pop()
        islands.setdefault(node, "becomes an integer")
        for value in node.inputs:
            made = value.producer() if value is not None and value.dtype == ir.DataType.FLOAT else None
            if made is not None and made not in seen and made.op_type not in _NO_MAKERS:
                seen.add(made)
                front.append(made)


def _to_integer(node: ir.Node) -> bool:
    """A Cast, or a quantization whose scale is made as it runs."""
    if node.op_type == "QuantizeLinear":
        return _made_as_it_runs(node.inputs[1])
    if node.op_type != "Cast" or node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.FLOAT:
        return False
    made = node.outputs[0].dtype
    return made is not None and made.is_integer()


def _made_as_it_runs(scale: ir.Value | None) -> bool:
    return scale is not None and scale.producer() is not None and constant_array(scale) is None


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
    """Whether every float that ``node`` reads or makes is FP32 on its other side: half precision would only round it.

    A node without float operands (a Cast of integers or doubles) or without float results (a comparison, a Cast back)
    is closed on that side.
    """
    sources = [v.producer() for v in node.inputs if v is not None and v.dtype == ir.DataType.FLOAT and _varies(v)]
    made = [value for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    sinks = [user for value in made for user, _ in value.uses()]
    if not (sources or sinks) or any(value.is_graph_output() for value in made):
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
    return constant is not None and constant.dtype == ir.DataType.FLOAT and constant.size > _TABLE
