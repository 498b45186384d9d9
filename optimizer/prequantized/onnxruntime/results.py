"""Results of integer kernels as codes: ONNX Runtime has no integer convolution that gives numbers at speed.

Sources for TensorRT quantize what kernels read. Where a kernel's result goes into a sum, or through a pool, before it
is quantized, ONNX Runtime would compute it in float.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from graphs.reading.quantizers import DQ, Pair, Q, pairs
from graphs.writing.edits import GraphEdits, after
from optimizer.prequantized.edges import listed
from optimizer.prequantized.fusable import is_integer_conv

_PASSES = frozenset({"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
_ACTIVATIONS = frozenset({"Relu", "Clip"})
_CODES = 255  # steps between the ends of uint8


def quantized_before_pools(model: ir.Model) -> list[str]:
    """A Q behind an operator that only moves or selects values goes before it too, in place: number for number."""
    edits, moved = GraphEdits(model.graph), 0
    for pair in pairs(model.graph):
        node = pair.data.producer()
        source = node.inputs[0] if node is not None and node.op_type in _PASSES and len(node.outputs) == 1 else None
        if node is None or source is None or not _only(pair.data, pair.quantize) or not _only(source, node):
            continue
        if _integer_result(source):
            node.replace_input_with(0, _pair_like(edits, source, pair))
            moved += 1
    return [f"{moved} activations quantized before what only moves or selects their values"] if moved else []


def quantized_sums(model: ir.Model) -> list[str]:
    """Quantize what integer convolutions add to a residual sum, in place; returns notes.

    The range follows from the source's own: where the sum is quantized from ``low`` to ``high`` and the skip branch
    spans ``a`` to ``b``, a term outside ``low - b`` to ``high - a`` makes a sum that saturates anyway. What is added is
    one rounding more, of about a step of the sum.
    """
    edits, done = GraphEdits(model.graph), list[str]()
    known = {pair.quantize: pair for pair in pairs(model.graph)}
    for node in list(model.graph):
        term = _term(node, known) if node.op_type == "Add" else None
        if term is None:
            continue
        index, low, high = term
        value = node.inputs[index]
        assert value is not None
        step = (high - low) / _CODES
        zero = int(np.clip(round(-low / step), 0, _CODES))
        scale = edits.constant(f"{value.name}/scale", np.float32(step))
        zero_point = edits.constant(f"{value.name}/zero", np.uint8(zero))
        node.replace_input_with(index, _inserted(edits, value, [scale, zero_point], ir.DataType.UINT8))
        done.append(str(node.name))
    if not done:
        return []
    return [
        f"{len(done)} residual sums add codes, for ONNX Runtime has no fast integer convolution with a float result; "
        f"their ranges follow from the source's: {listed(done)}"
    ]


def _term(add: ir.Node, known: Mapping[ir.Node, Pair]) -> tuple[int, float, float] | None:
    """The operand that an integer convolution makes in float, with the range it matters in."""
    result = _quantized(add.outputs[0], known)
    if result is None or len(add.inputs) != 2:
        return None
    for index in (0, 1):
        value, other = add.inputs[index], add.inputs[1 - index]
        if value is None or not _only(value, add) or not _integer_result(value):
            continue
        skip = _origin(other, known)
        if skip is not None:
            low, high = min(result.low, 0.0) - skip.high, result.high - skip.low
            return (index, low, high) if low < 0 < high else None
    return None


def _quantized(value: ir.Value, known: Mapping[ir.Node, Pair]) -> Pair | None:
    """The pair that quantizes ``value``, behind an activation or a pool perhaps, where nothing else reads it."""
    while len(value.uses()) == 1 and not value.is_graph_output():
        (use,) = value.uses()
        if use.node in known:
            return known[use.node]
        if use.node.op_type not in _ACTIVATIONS | _PASSES:
            return None
        value = use.node.outputs[0]
    readers = [use.node for use in value.uses()]
    return next((known[node] for node in readers if node in known), None)


def _origin(value: ir.Value | None, known: Mapping[ir.Node, Pair]) -> Pair | None:
    """The pair that ``value`` comes out of."""
    node = value.producer() if value is not None else None
    quantize = node.inputs[0].producer() if node is not None and node.op_type == DQ and node.inputs[0] else None
    return known.get(quantize) if quantize is not None else None


def _integer_result(value: ir.Value) -> bool:
    """Whether an integer convolution makes ``value``, perhaps with the activation behind it."""
    node = value.producer()
    if node is not None and node.op_type in _ACTIVATIONS and node.inputs[0] is not None:
        inner = node.inputs[0]
        node = inner.producer() if _only(inner, node) else None
    return node is not None and is_integer_conv(node)


def _only(value: ir.Value, reader: ir.Node) -> bool:
    return not value.is_graph_output() and all(use.node is reader for use in value.uses())


def _pair_like(edits: GraphEdits, value: ir.Value, pair: Pair) -> ir.Value:
    parameters = [given for given in pair.quantize.inputs[1:] if given is not None]
    return _inserted(edits, value, parameters, pair.dtype)


def _inserted(edits: GraphEdits, value: ir.Value, parameters: list[ir.Value], kind: ir.DataType) -> ir.Value:
    name = value.name
    narrow = edits.node(Q, [value, *parameters], f"{name}/Q", f"{name}/codes", kind, value.shape)
    wide = edits.node(
        DQ, [narrow.outputs[0], *parameters], f"{name}/DQ", f"{name}/read", ir.DataType.FLOAT, value.shape
    )
    after(edits.graph, value, [narrow, wide])
    return wide.outputs[0]
