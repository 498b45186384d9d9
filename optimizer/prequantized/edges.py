"""Taking a pair of Q and DQ away, or changing its codes, with what exporters left to it: a ReLU, or a bound."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from graphs.errors import first_few
from graphs.reading.constants import constant_array
from graphs.reading.operators import MOVING
from graphs.reading.quantizers import DQ, Pair, pair_of
from graphs.writing.edits import GraphEdits, after, bypass

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Exp", "Abs", "Sqrt", "HardSigmoid", "Softplus"})
_BACK = 8
"""Operators looked back through for one that gives no negative number. Chosen."""
_KEEPS_SIGN = MOVING | {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "Resize"}


def bypass_pair(edits: GraphEdits, pair: Pair) -> None:
    """Everybody reads the data itself. Where the pair gave numbers of one sign only, a Clip does instead."""
    value = pair.data
    if pair.one_sided and not (pair.low == 0 and never_negative(value)):
        value = clipped(edits, value, pair.low, pair.high)
    for node in pair.dequantizes:
        bypass(node, value)
    edits.graph.remove(pair.quantize, safe=True)


def removable(pair: Pair) -> bool:
    """Whether something else can take the name of a graph's output that the pair gives."""
    results = sum(node.outputs[0].is_graph_output() for node in pair.dequantizes)
    clips = pair.one_sided and not (pair.low == 0 and never_negative(pair.data))
    taken = pair.data.producer() is None or pair.data.is_graph_output()
    return results == 0 or (results == 1 and (clips or not taken))


def clipped(edits: GraphEdits, value: ir.Value, low: float | None, high: float | None) -> ir.Value:
    """``value`` within the bounds, a ReLU where that is all it takes; what reads ``value`` is left as it is."""
    name = f"{value.name}/bounded"
    if low == 0 and high is None:
        made = edits.node("Relu", [value], name, name, ir.DataType.FLOAT, value.shape)
    else:
        bounds = [
            edits.constant(f"{name}/{what}", np.float32(bound)) if bound is not None else None
            for what, bound in (("low", low), ("high", high))
        ]
        while bounds and bounds[-1] is None:
            bounds.pop()
        made = edits.node("Clip", [value, *bounds], name, name, ir.DataType.FLOAT, value.shape)
    after(edits.graph, value, [made])
    return made.outputs[0]


def never_negative(value: ir.Value | None, depth: int = _BACK) -> bool:
    """Whether the operators that make ``value``, up to ``depth`` before it, give no negative number."""
    node = value.producer() if value is not None else None
    if node is None or depth == 0:
        return False
    if node.op_type == "Clip":
        low = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
        return low is not None and bool((low >= 0).all())
    if node.op_type == DQ:
        quantize = node.inputs[0].producer() if node.inputs[0] is not None else None
        found = pair_of(quantize) if quantize is not None else None
        return found is not None and (found.low >= 0 or never_negative(found.data, depth - 1))
    if node.op_type in ("Concat", "Add"):
        return all(never_negative(source, depth - 1) for source in node.inputs)
    if node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") == "cubic":
        return False  # it overshoots
    return node.op_type in _NOT_NEGATIVE or (node.op_type in _KEEPS_SIGN and never_negative(node.inputs[0], depth - 1))


def set_codes(edits: GraphEdits, pair: Pair, scale: float, dtype: ir.DataType, zero: int) -> None:
    """Give the Q and the DQs of ``pair`` another scale and another kind of codes."""
    name = pair.data.name
    parameters = [
        edits.constant(f"{name}/scale", np.float32(scale)),
        edits.constant(f"{name}/zero", np.asarray(zero, dtype.numpy())),
    ]
    for node in (pair.quantize, *pair.dequantizes):
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        for index, value in enumerate(parameters, 1):
            node.replace_input_with(index, value)
        if "output_dtype" in node.attributes and node is pair.quantize:
            node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", dtype.value)
    pair.quantize.outputs[0].type = ir.TensorType(dtype)


def read_before(edits: GraphEdits, pair: Pair, value: ir.Value) -> None:
    """Let the Q of ``pair`` quantize ``value``."""
    pair.quantize.replace_input_with(0, value)


def listed(names: Iterable[object], most: int = 4) -> str:
    """The first few names of some, quoted, and how many more there are."""
    return first_few((repr(str(name)) for name in names), most)
