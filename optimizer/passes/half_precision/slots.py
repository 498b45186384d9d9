"""What an operator's ONNX schema says about half precision, slot by slot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import onnx
import onnx_ir as ir

HALF_NAMES = {ir.DataType.FLOAT16: "tensor(float16)", ir.DataType.BFLOAT16: "tensor(bfloat16)"}


@dataclass(frozen=True)
class HalfSlots:
    """Which inputs and outputs of an operator may be half precision; the last one repeats for variadic operators.

    ``outputs`` holds only outputs whose type follows from an input: a Cast's output follows its attribute instead.
    ``tied`` are inputs whose type an output follows.
    """

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]
    tied: tuple[bool, ...]

    def input(self, index: int) -> bool:
        return bool(self.inputs) and self.inputs[min(index, len(self.inputs) - 1)]

    def output(self, index: int) -> bool:
        return bool(self.outputs) and self.outputs[min(index, len(self.outputs) - 1)]

    def ties(self, index: int) -> bool:
        """Whether an input may be half precision and makes an output so."""
        return bool(self.tied) and self.tied[min(index, len(self.tied) - 1)]


@lru_cache(maxsize=1024)
def half_slots(op_type: str, opset: int, dtype: ir.DataType) -> HalfSlots | None:
    """The slots of a standard operator; None where the ONNX standard has no such operator."""
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return None
    allowed = {c.type_param_str: HALF_NAMES[dtype] in c.allowed_type_strs for c in schema.type_constraints}
    inputs = tuple(allowed.get(slot.type_str, False) for slot in schema.inputs)
    bound = {slot.type_str for slot in schema.inputs}
    if op_type == "DequantizeLinear":  # from opset 23 on its output has a type of its own: by default still its scale's
        bound.update(slot.type_str for slot in schema.outputs)
    outputs = tuple(slot.type_str in bound and allowed.get(slot.type_str, False) for slot in schema.outputs)
    following = {slot.type_str for slot in schema.outputs}
    tied = tuple(half and slot.type_str in following for half, slot in zip(inputs, schema.inputs, strict=True))
    return HalfSlots(inputs, outputs, tied)
