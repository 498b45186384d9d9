"""The steps of one operator, as nodes before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import input_at
from graphs.writing.free_names import FreeNames

_INT64, _FLOAT = ir.DataType.INT64, ir.DataType.FLOAT


class Steps:
    """Emits the steps of one node just before it, in the type of its first input."""

    def __init__(self, node: ir.Node, names: FreeNames) -> None:
        data = node.inputs[0]
        assert data is not None and data.dtype is not None
        self.node, self.data, self.dtype, self._names = node, data, data.dtype, names
        self.made: list[ir.Value] = []
        """Results in the type of the data."""
        self.aside: list[ir.Value] = []
        """Constants, and steps that are FP32 or integer in any case."""
        self._count = 0

    def input(self, index: int) -> ir.Value | None:
        return input_at(self.node, index)

    def do(
        self, op_type: str, *inputs: ir.Value | None, dtype: ir.DataType | None = None, **attributes: Any
    ) -> ir.Value:
        self._count += 1
        name = f"{self.node.outputs[0].name}/{op_type}.{self._count}"
        made = ir.node(op_type, list(inputs), attributes or None, name=self._names.node(name))
        output = made.outputs[0]
        output.name, output.type = self._names.value(name), ir.TensorType(dtype or self.dtype)
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, [made])
        (self.made if dtype is None and op_type != "Constant" else self.aside).append(output)
        return output

    def like(self, op_type: str, *inputs: ir.Value | None) -> ir.Value:
        """A step with the node's own attributes."""
        output = self.do(op_type, *inputs)
        producer = output.producer()
        assert producer is not None
        producer.attributes.update({attribute.name: attribute for attribute in self.node.attributes.values()})
        return output

    def number(self, value: float, dtype: ir.DataType | None = None) -> ir.Value:
        dtype = dtype or self.dtype
        return self.do("Constant", dtype=dtype, value=ir.Tensor(np.asarray(value, dtype.numpy()), dtype=dtype))

    def integers(self, values: Sequence[int]) -> ir.Value:
        return self.do("Constant", dtype=_INT64, value=ir.Tensor(np.array(values, np.int64)))

    def total(self, value: ir.Value, axes: ir.Value | None) -> ir.Value:
        return self.do("ReduceSum", value, axes, keepdims=1)

    def mean(self, value: ir.Value, axes: ir.Value | None, **attributes: Any) -> ir.Value:
        """The sum in the type of the data, divided by the number of values in each sum."""
        total = self.do("ReduceSum", value, axes, **(attributes or {"keepdims": 1}))
        sizes = (self.do("Size", given, dtype=_INT64) for given in (value, total))
        count = self.wide("Div", *sizes)
        return self.narrow(self.wide("Div", total, count))

    def wide(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A step in FP32, where the reference's operand is a float32 scalar of an attribute and numpy widens."""
        return self.do(op_type, *(self._widened(value) for value in inputs), dtype=_FLOAT, **attributes)

    def narrow(self, value: ir.Value) -> ir.Value:
        return self.do("Cast", value, to=self.dtype.value)

    def _widened(self, value: ir.Value | None) -> ir.Value | None:
        if value is None or value.dtype == _FLOAT:
            return value
        return self.do("Cast", value, dtype=_FLOAT, to=_FLOAT.value)
