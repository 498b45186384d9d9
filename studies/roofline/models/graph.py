"""A small writer of typed graphs: the same architecture in FP32, in FP16, or in INT8 with FP16 around it.

INT8 is written as TensorRT reads it: Q/DQ on the input and the weight of every product, and on residual branches.
Weights are made when somebody reads them, so a graph whose shapes suffice costs no memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

OPSET = 21
IR_VERSION = 10
FLOATS = {"fp32": ir.DataType.FLOAT, "fp16": ir.DataType.FLOAT16, "int8": ir.DataType.FLOAT16}
Reader = Callable[[str, tuple[int, ...], ir.DataType], ir.TensorProtocol]
_SCALE = 0.05  # of every quantizer: predictions do not read it


class GraphWriter:
    """Nodes so far, in order. ``precision`` is ``fp32``, ``fp16`` or ``int8``; the batch is symbolic, named ``N``."""

    def __init__(self, name: str, precision: str) -> None:
        self.precision = precision
        self.float = FLOATS[precision]
        self._name = name
        self._nodes: list[ir.Node] = []
        self._inputs: list[ir.Value] = []
        self._weights: dict[str, ir.Value] = {}
        self._quantized: dict[ir.Value, ir.Value] = {}

    def input(self, name: str, shape: Sequence[int]) -> ir.Value:
        """A float input; in INT8 graphs it arrives quantized, as NVIDIA's harness feeds its own (``int8_linear``)."""
        dtype = ir.DataType.INT8 if self.precision == "int8" else self.float
        value = self._input(name, shape, dtype)
        if dtype != ir.DataType.INT8:
            return value
        dequantized = self._dequantized(value, name, axis=None)
        self._quantized[dequantized] = dequantized
        return dequantized

    def tokens(self, name: str, length: int) -> ir.Value:
        """An INT64 input of shape [N, length]."""
        return self._input(name, [length], ir.DataType.INT64)

    def _input(self, name: str, shape: Sequence[int], dtype: ir.DataType) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(["N", *shape]), type=ir.TensorType(dtype))
        self._inputs.append(value)
        return value

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], name: str, **attributes: Any) -> ir.Value:
        """One node with one output, both called ``name``."""
        node = ir.node(op_type, list(inputs), attributes, name=name)
        node.outputs[0].name = name
        self._nodes.append(node)
        return node.outputs[0]

    def quantized(self, value: ir.Value) -> ir.Value:
        """``value`` through one shared Q/DQ pair where the graph is INT8, else itself."""
        if self.precision != "int8":
            return value
        if value not in self._quantized:
            scale = self._scale(str(value.name), ())
            stored = self.op("QuantizeLinear", [value, *scale], f"{value.name}/Q")
            self._quantized[value] = self.op("DequantizeLinear", [stored, *scale], f"{value.name}/DQ")
        return self._quantized[value]

    def weight(self, name: str, shape: Sequence[int], axis: int) -> ir.Value:
        """The second operand of a product: INT8 codes behind DQ per ``axis`` in INT8 graphs, else floats."""
        if self.precision != "int8":
            return self.floats(name, shape)
        return self._dequantized(self._lazy(name, shape, ir.DataType.INT8, _codes), name, axis=axis)

    def floats(self, name: str, shape: Sequence[int]) -> ir.Value:
        """A float initializer, drawn at random when read."""
        return self._lazy(name, shape, self.float, _normal)

    def integers(self, name: str, values: int | Sequence[int]) -> ir.Value:
        """An INT64 constant: shapes, indices."""
        return self._stored(name, np.asarray(values, np.int64))

    def model(self, outputs: Sequence[ir.Value]) -> ir.Model:
        for value in outputs:
            value.type = ir.TensorType(self.float)
        graph = ir.Graph(
            self._inputs,
            outputs,
            nodes=self._nodes,
            initializers=list(self._weights.values()),
            opset_imports={"": OPSET},
            name=self._name,
        )
        return ir.Model(graph, ir_version=IR_VERSION)

    def _dequantized(self, value: ir.Value, name: str, axis: int | None) -> ir.Value:
        sizes = () if axis is None else (_extent(value, axis),)
        attributes = {} if axis is None else {"axis": axis}
        return self.op("DequantizeLinear", [value, *self._scale(name, sizes)], f"{name}/DQ", **attributes)

    def _scale(self, name: str, sizes: tuple[int, ...]) -> list[ir.Value]:
        scale = self._stored(f"{name}/scale", np.full(sizes, _SCALE, self.float.numpy()))
        return [scale, self._stored(f"{name}/zero", np.zeros(sizes, np.int8))]

    def _stored(self, name: str, values: npt.NDArray[Any]) -> ir.Value:
        return self._keep(name, ir.Tensor(values, name=name))

    def _lazy(self, name: str, shape: Sequence[int], dtype: ir.DataType, read: Reader) -> ir.Value:
        later = partial(read, name, tuple(shape), dtype)
        return self._keep(name, ir.LazyTensor(later, dtype=dtype, shape=ir.Shape(list(shape)), name=name))

    def _keep(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        if name not in self._weights:
            shape = ir.Shape(tensor.shape.numpy())
            self._weights[name] = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        return self._weights[name]


def _extent(value: ir.Value, axis: int) -> int:
    assert value.shape is not None
    extent = value.shape[axis]
    assert isinstance(extent, int)
    return extent


def _normal(name: str, shape: tuple[int, ...], dtype: ir.DataType) -> ir.TensorProtocol:
    values = np.random.default_rng(list(name.encode())).standard_normal(shape, dtype=np.float32)
    return ir.Tensor((values * np.float32(_SCALE)).astype(dtype.numpy()), name=name)


def _codes(name: str, shape: tuple[int, ...], dtype: ir.DataType) -> ir.TensorProtocol:
    codes = np.random.default_rng(list(name.encode())).integers(-127, 128, shape)
    return ir.Tensor(codes.astype(dtype.numpy()), name=name)
