"""A graph with its Q/DQ taken out, so that two of them can be told apart by more than codes that fell either way.

A code at the edge of two falls either way for an error in the last bit, and twelve layers make noise of it: BERT-base
written with layer norms in parts is 32 dB from itself with its Q/DQ, and 123 dB without.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array
from graphs.reading.operators import MOVING, is_standard

_FLOAT = ir.DataType.FLOAT
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def unquantized(model: ir.Model) -> ir.Model | None:
    """A copy of a graph in FP32 in which every Q, and every DQ behind one, hands on what it gets; constants stored as
    codes stay dequantized. None where something computes with codes.
    """
    copy = model.clone()
    quantizers = [node for node in copy.graph.all_nodes() if is_standard(node) and node.op_type == "QuantizeLinear"]
    found = [_codes_behind(node) for node in quantizers]
    if any(codes is None for codes in found):
        return None
    for quantize, codes in zip(quantizers, found, strict=True):
        for value in codes or ():
            value.type = ir.TensorType(_FLOAT)
            for reader in {user for user, _ in value.uses() if user.op_type == "DequantizeLinear"}:
                _hand_on(reader)
        _hand_on(quantize)
    return copy


def _codes_behind(quantize: ir.Node) -> list[ir.Value] | None:
    """The tensors that hold the codes of a Q, moved about; None where another operator reads them."""
    found, pending = list[ir.Value](), [quantize.outputs[0]]
    while pending:
        value = pending.pop()
        found.append(value)
        if value.is_graph_output():
            return None
        for user, index in value.uses():
            if index or not is_standard(user):
                return None
            if user.op_type in MOVING and len(user.outputs) == 1:
                pending.append(user.outputs[0])
            elif user.op_type != "DequantizeLinear":
                return None
    return found


def _hand_on(node: ir.Node) -> None:
    node.op_type = "Identity"
    node.resize_inputs(1)
    node.attributes.clear()


def other_scale(typed: ir.Model, lowered: ir.Model) -> str:
    """The first Q or DQ of the lowered graph whose scale is not that of the typed graph's node of the name (of its DQ,
    for a Q that weights have got); empty where all are alike.
    """
    scales = {str(node.name): _scale(node) for node in typed.graph.all_nodes() if node.op_type in _QUANTIZERS}
    for node in lowered.graph.all_nodes():
        if node.op_type not in _QUANTIZERS or not is_standard(node):
            continue
        readers = [user for user, _ in node.outputs[0].uses() if user.op_type == "DequantizeLinear"]
        source = str(node.name) if node.name in scales else str(readers[0].name) if readers else ""
        wanted, found = scales.get(source), _scale(node)
        if wanted is None or found is None or wanted.shape != found.shape or not np.array_equal(wanted, found):
            return str(node.name)
    return ""


def _scale(node: ir.Node) -> np.ndarray | None:
    scale = constant_array(node.inputs[1])
    return None if scale is None else scale.astype(np.float32)
