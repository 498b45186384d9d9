"""uint8 codes around 128 become int8 codes around 0: the same numbers, in the only form that TensorRT takes.

q - 128 of a code q with scale s and zero point 128 is the code of the same value with zero point 0, and the bounds 0
and 255 are then -128 and 127. Other zero points have no such form. The CPU's engine keeps unsigned codes, which ONNX
Runtime is made for.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.passes.base import PassResult
from optimizer.passes.constants import constant_array, constant_tensor, set_constant_input

_MIDDLE = 128
_MOVES = {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Identity", "MaxPool", "Expand", "Tile"}
"""What hands codes on from its first input as they are, or by their order."""


class SignedCodes:
    """Changes what quantizes to uint8 around 128, with all that reads the codes; where one reader differs, nothing."""

    name = "sign codes"

    def apply(self, model: ir.Model) -> PassResult:
        changed, seen = 0, set[ir.Value]()
        for graph in model.graphs():
            for node in list(graph):
                codes = _codes_of(node)
                if codes is None or codes in seen:
                    continue
                group = _together(codes)
                seen |= group if group else {codes}
                if group and all(_fits(value) for value in group):
                    _sign(group)
                    changed += 1
        return PassResult(changed, (f"{changed} tensors of uint8 codes around 128 made int8",) if changed else ())


def _codes_of(node: ir.Node) -> ir.Value | None:
    """The tensor of 8-bit codes that a Q makes or a DQ reads."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "QuantizeLinear":
        return node.outputs[0]
    return node.inputs[0] if node.op_type == "DequantizeLinear" else None


def _together(codes: ir.Value) -> set[ir.Value]:
    """All tensors that hold the same codes, moved about; empty where something else makes or reads them."""
    group, pending = set[ir.Value](), [codes]
    while pending:
        value = pending.pop()
        if value in group:
            continue
        group.add(value)
        producer = value.producer()
        if producer is not None and producer.op_type in _MOVES and producer.inputs[0] is not None:
            pending.append(producer.inputs[0])
        for user, index in value.uses():
            if user.op_type in _MOVES and index == 0 and len(user.outputs) == 1:
                pending.append(user.outputs[0])
    return group


def _fits(value: ir.Value) -> bool:
    """Whether ``value`` is made, and read, by what can as well have the codes signed."""
    producer = value.producer()
    made = constant_tensor(value) is not None if producer is None else producer.op_type in _MOVES or _around(producer)
    if producer is not None and producer.op_type == "Constant":
        made = False  # cleaning has made initializers of them
    readers = value.uses()
    return (
        made
        and value.dtype in (ir.DataType.UINT8, None)
        and not value.is_graph_input()
        and not value.is_graph_output()
        and all(index == 0 and (user.op_type in _MOVES or _around(user)) for user, index in readers)
    )


def _around(node: ir.Node) -> bool:
    """Whether the node quantizes around 128, in one zero point or in one for each channel."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    zero = constant_array(node.inputs[2])
    return zero is not None and zero.dtype == np.uint8 and bool(np.all(zero == _MIDDLE))


def _sign(group: set[ir.Value]) -> None:
    for value in group:
        producer = value.producer()
        for node in {user for user, _ in value.uses()} | ({producer} if producer is not None else set()):
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                _zero(node)
        tensor = constant_tensor(value) if producer is None else None
        if tensor is not None:
            value.const_value = ir.tensor((tensor.numpy().astype(np.int16) - _MIDDLE).astype(np.int8), name=value.name)
        value.type = ir.TensorType(ir.DataType.INT8)


def _zero(node: ir.Node) -> None:
    """Give a node that is around 128 a zero point of 0."""
    zero = constant_array(node.inputs[2])
    assert zero is not None
    if zero.dtype == np.uint8:
        set_constant_input(node, 2, np.zeros(zero.shape, np.int8), f"{node.name}_zero")
    if "output_dtype" in node.attributes:
        node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", ir.DataType.INT8.value)
