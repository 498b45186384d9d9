"""Writing the body of an operator that ONNX does not define, node by node, in standard operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir

from graphs.reading.constants import input_at

DOMAIN = "enginewright.spelt_out"
FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})

MakeBody: TypeAlias = Callable[[ir.Node, int], "ir.Function | None"]
"""The body of a node in an opset; None for a use that is not written here."""
Bodies: TypeAlias = Mapping[str, MakeBody]


class Body:
    """A function in the making: ``do`` adds a node and returns the name of what it gives."""

    def __init__(self, node: ir.Node, opset: int) -> None:
        self._node, self._opset, self._made = node, opset, list[onnx.NodeProto]()

    def given(self, index: int) -> str:
        """The name of the node's input; empty where it is left out."""
        return f"given_{index}" if input_at(self._node, index) is not None else ""

    def do(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op_type.lower()}_{len(self._made)}"
        self._add(op_type, inputs, [output], **attributes)
        return output

    def _add(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """A node that is called after the operator it is a part of."""
        name = f"{self._node.name}/{op_type}_{len(self._made)}"
        self._made.append(onnx.helper.make_node(op_type, list(inputs), list(outputs), name=name, **attributes))

    def several(self, op_type: str, count: int, *inputs: str) -> list[str]:
        """The same for a node that gives ``count`` outputs."""
        outputs = [f"{op_type.lower()}_{len(self._made)}_{place}" for place in range(count)]
        self._add(op_type, inputs, outputs)
        return outputs

    def split(self, data: str, sizes: list[int], axis: int) -> list[str]:
        outputs = [f"part_{len(self._made)}_{place}" for place in range(len(sizes))]
        self._add("Split", [data, self.ints(*sizes)], outputs, axis=axis)
        return outputs

    def ints(self, *values: int) -> str:
        return self.do("Constant", value_ints=list(values))

    def number(self, value: float, like: str = "") -> str:
        """A scalar; of the type of the tensor ``like`` where one is named."""
        constant = self.do("Constant", value_float=float(value))
        return self.do("CastLike", constant, like) if like else constant

    def mean(self, data: str) -> str:
        """Over the last axis, which stays."""
        if self._opset >= 18:
            return self.do("ReduceMean", data, self.ints(-1), keepdims=1)
        return self.do("ReduceMean", data, axes=[-1], keepdims=1)

    def function(self, *outputs: str) -> ir.Function | None:
        """The function with ``outputs`` in order; None where the node asks for more, or for an empty one."""
        asked = [o.uses() or o.is_graph_output() for o in self._node.outputs]
        if any(wanted and (i >= len(outputs) or not outputs[i]) for i, wanted in enumerate(asked)):
            return None
        given = [f"given_{index}" for index in range(len(self._node.inputs))]
        for index in range(len(asked)):
            made = outputs[index] if index < len(outputs) and outputs[index] else self.number(0.0)
            self._add("Identity", [made], [f"result_{index}"])
        results = [f"result_{index}" for index in range(len(asked))]
        opsets = [onnx.helper.make_opsetid("", self._opset)]
        proto = onnx.helper.make_function(DOMAIN, self._node.op_type, given, results, self._made, opsets)
        return ir.serde.deserialize_function(proto)


def rank_of(node: ir.Node, index: int) -> int | None:
    """The number of axes of an input, where it is known."""
    value = input_at(node, index)
    return len(value.shape) if value is not None and value.shape is not None else None


def size_of(node: ir.Node, index: int, axis: int) -> int | None:
    """The length of an axis of an input, where it is known."""
    value = input_at(node, index)
    size = value.shape[axis] if value is not None and value.shape is not None and len(value.shape) else None
    return size if isinstance(size, int) else None
