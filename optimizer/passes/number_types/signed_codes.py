"""uint8 codes around 128 are int8 codes around 0: the same numbers, signed for TensorRT, unsigned for ONNX Runtime.

q - 128 of a code q with scale s and zero point 128 is the code of the same value with zero point 0, and the bounds 0
and 255 are then -128 and 127. Other zero points have no such form. TensorRT takes signed codes alone. ONNX Runtime is
made for unsigned data, and 1.32 refuses what it makes itself of int8 data in opset 21: its
``QDQPropagationTransformer`` writes ``output_dtype`` INT8 behind a Reshape or Transpose, its ``QDQS8ToU8Transformer``
then a zero point of uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array, constant_tensor
from graphs.reading.number_types import MIDDLE
from graphs.reading.operators import MOVING, is_standard
from graphs.writing.edits import GraphEdits, set_constant_input
from optimizer.passes.base import PassResult


@dataclass(frozen=True)
class _Kind:
    """8-bit codes of ``dtype`` around the zero point ``middle``."""

    dtype: ir.DataType
    middle: int


_SIGNED, _UNSIGNED = _Kind(ir.DataType.INT8, 0), _Kind(ir.DataType.UINT8, MIDDLE)
_MOVES = MOVING - {"Split"}
"""What hands codes on from its first input as they are, or by their order, to one output."""


class SignedCodes:
    """Changes what quantizes to uint8 around 128, with all that reads the codes; where one reader differs, nothing."""

    name = "sign codes"

    def apply(self, model: ir.Model) -> PassResult:
        edits = GraphEdits(model.graph)
        changed = sum(_change(edits, group, _UNSIGNED, _SIGNED) for group in _groups(model))
        return PassResult(changed, (f"{changed} tensors of uint8 codes around 128 made int8",) if changed else ())


class UnsignedCodes:
    """The other way round, for data alone: weights stay signed, as ONNX Runtime's kernels want them."""

    name = "unsign codes"

    def apply(self, model: ir.Model) -> PassResult:
        data = (group for group in _groups(model) if any(_is_quantized(value) for value in group))
        edits = GraphEdits(model.graph)
        changed = sum(_change(edits, group, _SIGNED, _UNSIGNED) for group in data)
        return PassResult(changed, (f"{changed} tensors of int8 codes around 0 made uint8",) if changed else ())


def _groups(model: ir.Model) -> list[set[ir.Value]]:
    """The tensors of 8-bit codes, those together that hold the same ones."""
    found, seen = list[set[ir.Value]](), set[ir.Value]()
    for graph in model.graphs():
        for node in graph:
            codes = _codes_of(node)
            if codes is not None and codes not in seen:
                found.append(_together(codes))
                seen |= found[-1]
    return found


def _is_quantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "QuantizeLinear"


def _codes_of(node: ir.Node) -> ir.Value | None:
    """The tensor of 8-bit codes that a Q makes or a DQ reads."""
    if not is_standard(node):
        return None
    if node.op_type == "QuantizeLinear":
        return node.outputs[0]
    return node.inputs[0] if node.op_type == "DequantizeLinear" else None


def _hands_on(node: ir.Node) -> bool:
    """Whether the codes of its first input come out of the one output of ``node``; a MaxPool may also give places."""
    return node.op_type in _MOVES and len(node.outputs) == 1


def _together(codes: ir.Value) -> set[ir.Value]:
    """All tensors that hold the same codes, moved about."""
    group, pending = set[ir.Value](), [codes]
    while pending:
        value = pending.pop()
        if value in group:
            continue
        group.add(value)
        producer = value.producer()
        if producer is not None and _hands_on(producer) and producer.inputs[0] is not None:
            pending.append(producer.inputs[0])
        for user, index in value.uses():
            if _hands_on(user) and index == 0:
                pending.append(user.outputs[0])
    return group


def _fits(value: ir.Value, given: _Kind) -> bool:
    """Whether ``value`` is made, and read, by what can as well have the codes signed."""
    producer = value.producer()
    made = constant_tensor(value) is not None if producer is None else _hands_on(producer) or _around(producer, given)
    if producer is not None and producer.op_type == "Constant":
        made = False  # cleaning has made initializers of them
    readers = value.uses()
    return (
        made
        and value.dtype in (given.dtype, None)
        and not value.is_graph_input()
        and not value.is_graph_output()
        and all(index == 0 and (_hands_on(user) or _around(user, given)) for user, index in readers)
    )


def _around(node: ir.Node, given: _Kind) -> bool:
    """Whether the node quantizes around the middle, in one zero point or in one for each channel."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    zero = constant_array(node.inputs[2])
    return zero is not None and zero.dtype == given.dtype.numpy() and bool(np.all(zero == given.middle))


def _change(edits: GraphEdits, group: set[ir.Value], given: _Kind, wanted: _Kind) -> bool:
    """Write the codes in the other kind; nothing where something else makes or reads them."""
    if not all(_fits(value, given) for value in group):
        return False
    for value in group:
        producer = value.producer()
        for node in {user for user, _ in value.uses()} | ({producer} if producer is not None else set()):
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                _zero(edits, node, given, wanted)
        tensor = constant_tensor(value) if producer is None else None
        if tensor is not None:
            moved = tensor.numpy().astype(np.int16) - given.middle + wanted.middle
            value.const_value = ir.tensor(moved.astype(wanted.dtype.numpy()), name=value.name)
        value.type = ir.TensorType(wanted.dtype)
    return True


def _zero(edits: GraphEdits, node: ir.Node, given: _Kind, wanted: _Kind) -> None:
    """Give a node that is around the one middle the other one."""
    zero = constant_array(node.inputs[2])
    assert zero is not None
    if zero.dtype == given.dtype.numpy():
        codes = np.full(zero.shape, wanted.middle, wanted.dtype.numpy())
        set_constant_input(edits, node, 2, codes, f"{node.name}_zero")
    if "output_dtype" in node.attributes:
        node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", wanted.dtype.value)
