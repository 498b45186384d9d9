"""One float type inside: what comes as float64, bfloat16 or float16 computes in float32, with Casts at its borders.

TensorRT has no float64, ONNX Runtime's CPU has no bfloat16 and its float16 kernels compute in float32; which type each
node ends up in is decided later, from ranges. Halves widen exactly. A float64 is rounded, and constants that float32
cannot hold are named.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from graphs.writing.float_types import cast_tensor, float32_attributes, float32_type, holds_type, names_type
from graphs.writing.free_names import FreeNames

FLOAT = ir.DataType.FLOAT
NAMES = {ir.DataType.DOUBLE: "float64", ir.DataType.FLOAT16: "float16", ir.DataType.BFLOAT16: "bfloat16"}
_WHOLE = 2**24
"""Whole numbers up to here are exact in float32."""


def compute_in_float32(model: ir.Model) -> list[str]:
    """Retype ``model`` in place; returns notes. Graph inputs and outputs keep their types; those in bfloat16, which
    numpy has not, are float32.
    """
    found = [dtype for dtype in NAMES if any(value.dtype == dtype for value in _values(model)) or _made(model, dtype)]
    if not found:
        return []
    notes = []
    if any(node.op_type == "BitCast" for graph in model.graphs() for node in graph):
        return ["floats keep their types, for a BitCast reads their bits"]
    for dtype in found:
        inexact = _Retyping(model, dtype).run()
        notes.append(_note(dtype, inexact))
    return notes


def _note(dtype: ir.DataType, inexact: list[str]) -> str:
    if dtype is ir.DataType.BFLOAT16:
        return "bfloat16 graph: imported in FP32, which holds its values exactly, inputs and outputs as well"
    if dtype is ir.DataType.FLOAT16:
        return f"{NAMES[dtype]} graph: imported in FP32, which holds its values exactly; typed again later"
    note = "float64 (double) graph: computed in FP32, since TensorRT has no float64; inputs and outputs keep float64"
    if inexact:
        shown = ", ".join(repr(name) for name in inexact[:3]) + (" and others" if len(inexact) > 3 else "")
        note += f". Constants that FP32 cannot hold change: {shown}"
    return note


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs


def _made(model: ir.Model, dtype: ir.DataType) -> bool:
    """Whether a node says that it makes ``dtype``: types need not have been inferred yet."""
    return any(
        names_type(attribute, (dtype,)) or holds_type(attribute, (dtype,))
        for graph in model.graphs()
        for node in graph
        for attribute in node.attributes.values()
        if not attribute.is_ref()
    )


class _Retyping:
    """One type of one model."""

    def __init__(self, model: ir.Model, dtype: ir.DataType) -> None:
        self._model, self._dtype = model, dtype
        self._inexact: list[str] = []
        self._names = FreeNames(model.graph)

    def run(self) -> list[str]:
        """Retype everything; returns names of constants that float32 does not hold."""
        graph = self._model.graph
        outputs = [value.dtype == self._dtype for value in graph.outputs]
        for inner in self._model.graphs():
            for value in inner.initializers.values():
                self._constant(value)
            for node in inner:
                float32_attributes(node, (self._dtype,), partial(self._narrow, name=str(node.name)))
                for value in node.outputs:
                    self._type(value)
            if inner is not graph:
                for value in inner.inputs:
                    self._type(value)
        if self._dtype is ir.DataType.BFLOAT16:
            for value in graph.inputs:
                self._type(value)
        else:
            self._cast_outputs(graph, outputs)
            self._cast_inputs(graph)
        return self._inexact

    def _type(self, value: ir.Value) -> None:
        if value.dtype == self._dtype and value.type is not None:
            value.type = float32_type(value.type, (self._dtype,))

    def _constant(self, value: ir.Value) -> None:
        if value.const_value is not None and value.const_value.dtype == self._dtype:
            value.const_value = self._narrow(value.const_value, str(value.name))
        self._type(value)

    def _narrow(self, tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
        if self._dtype is ir.DataType.DOUBLE and not _fits(tensor.numpy()):
            self._inexact.append(name)
        return cast_tensor(tensor, FLOAT, tensor.name)

    def _cast_inputs(self, graph: ir.Graph) -> None:
        for value in list(graph.inputs):
            if value.dtype != self._dtype or not value.uses():
                continue
            cast = self._cast(value, FLOAT, f"{value.name}_fp32")
            users = [use for use in value.uses() if use[0] is not cast and not _is_border(use[0], self._dtype)]
            for node, index in users:
                node.replace_input_with(index, cast.outputs[0])
            if users:
                graph.insert_before(graph[0], cast)
            else:
                cast.replace_input_with(0, None)

    def _cast_outputs(self, graph: ir.Graph, outputs: list[bool]) -> None:
        """A Cast back, under the output's name; outputs that are inputs already have the right type."""
        for index, wide in enumerate(outputs):
            value = graph.outputs[index]
            if not wide or value.is_graph_input():
                continue
            name = str(value.name)
            if value.is_initializer():
                graph.initializers.pop(name)
            value.name = self._names.value(f"{name}_fp32")
            if value.const_value is not None and value.producer() is None:
                graph.register_initializer(value)
            cast = self._cast(value, self._dtype, name)
            graph.append(cast)
            graph.outputs[index] = cast.outputs[0]

    def _cast(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
        free = name if dtype == self._dtype else self._names.value(name)
        cast = ir.node(
            "Cast", [value], {"to": dtype.value}, name=self._names.node(f"{value.name}_to_{dtype.name.lower()}")
        )
        output = cast.outputs[0]
        output.name, output.shape, output.type = free, value.shape, ir.TensorType(dtype)
        return cast


def _is_border(node: ir.Node, dtype: ir.DataType) -> bool:
    return node.op_type == "Cast" and node.attributes.get_int("to", 0) == dtype.value


def _fits(array: np.ndarray) -> bool:
    """Whether float32 holds float64 values: none overflows or vanishes, and no whole number loses its last digits."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = array.astype(np.float32)
    finite = np.isfinite(array)
    lost = finite & (~np.isfinite(narrow) | ((narrow == 0) & (array != 0)))
    whole = finite & (np.abs(array) >= _WHOLE) & (array == np.floor(array)) & (narrow.astype(np.float64) != array)
    return not (lost.any() or whole.any())
