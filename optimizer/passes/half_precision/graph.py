"""Type a graph in half precision: every float not on an FP32 island becomes FP16 or BF16, inputs and outputs stay FP32.

TensorRT networks are strongly typed: an elementwise operator whose operands differ in type is an error. So types are
decided per node and made true with Casts at the borders, once per tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray
from onnxscript import version_converter

from graphs.reading.constants import Array
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, drop_unused_initializers
from graphs.writing.lazy_tensors import EAGER_ELEMENTS, small_at_once
from optimizer.passes.base import PassResult
from optimizer.passes.half_precision.islands import IslandRules, choose_islands
from optimizer.passes.half_precision.slots import half_slots
from optimizer.simulation.extremes import LARGEST, Extremes

_FLOAT = ir.DataType.FLOAT
_SUFFIX = {ir.DataType.FLOAT: "fp32", ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16"}


class HalfPrecision:
    """Types everything left in FP32 as ``dtype`` (FLOAT16 or BFLOAT16), in place.

    ``keep`` maps nodes to leave in FP32 to the reason, ``half`` are nodes that only a rule about themselves leaves
    there; ``extremes`` is what was observed of its activations. After ``apply``, ``kept`` maps the names of FP32 nodes
    to reasons. A graph with half-precision weights of its own is left as it is.
    """

    name = "half precision"

    def __init__(
        self,
        dtype: ir.DataType = ir.DataType.FLOAT16,
        keep: Mapping[str, str] | None = None,
        extremes: Extremes | None = None,
        half: frozenset[str] = frozenset(),
    ) -> None:
        if dtype not in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
            raise ValueError(f"{dtype.name} is no half-precision type")
        self.dtype, self.keep, self.extremes = dtype, dict(keep or {}), extremes or Extremes()
        self.half = half
        self.kept: dict[str, str] = {}

    def apply(self, model: ir.Model) -> PassResult:
        self.kept = {}
        if self.dtype == ir.DataType.BFLOAT16 and model.opset_imports.get("", 0) < 22:
            version_converter.ConvertVersionPass(target_version=22)(model)  # Conv and pooling in BF16 are new in 22
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        if _typed_already(model):
            return PassResult(0, ("the model has half-precision weights of its own: its types stay as they are",))
        islands = choose_islands(model, IslandRules(self.dtype, self.keep, self.extremes, self.half))
        typing = _Typing(model, self.dtype, islands)
        typing.run()
        drop_unused_initializers(model)
        self.kept = {str(node.name): reason for node, reason in islands.items() if _has_floats(node)}
        return PassResult(typing.typed, tuple(typing.notes))


def _typed_already(model: ir.Model) -> bool:
    half = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    return any(v.dtype in half and v.uses() for g in model.graphs() for v in g.initializers.values())


def _has_floats(node: ir.Node) -> bool:
    return any(value is not None and value.dtype == _FLOAT for value in (*node.inputs, *node.outputs))


class _Typing:
    """One run over one model. ``typed`` counts nodes that became half precision."""

    def __init__(self, model: ir.Model, dtype: ir.DataType, islands: Mapping[ir.Node, str]) -> None:
        self._model, self._dtype, self._islands = model, dtype, islands
        self._opset = model.opset_imports.get("", 21)
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._constants: dict[tuple[ir.Value, bool], ir.Value] = {}
        self._edits = GraphEdits(model.graph)
        self.typed = 0
        self.notes: list[str] = []

    def run(self) -> None:
        given = {value for value in self._model.graph.outputs if value.dtype == self._dtype}
        self._graph(self._model.graph)
        self._restore_outputs(self._model.graph, given)
        self._drop_originals()

    def _graph(self, graph: ir.Graph) -> None:
        for node in list(graph):
            if node.op_type == "If" and is_standard(node):
                self._branches(node)
            elif node in self._islands:
                self._widen_inputs(node)
            else:
                self._narrow(node)

    def _narrow(self, node: ir.Node) -> None:
        """Give a node half-precision operands where its schema takes them; its outputs follow."""
        slots = half_slots(node.op_type, self._opset, self._dtype)
        assert slots is not None, node.op_type
        narrowed = False
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            if slots.input(index):
                if value.dtype == _FLOAT:
                    node.replace_input_with(index, self._to(value, self._dtype, node))
                    narrowed = True
            elif value.dtype == self._dtype:
                node.replace_input_with(index, self._to(value, _FLOAT, node))
        narrowed |= self._retarget(node)
        follows = narrowed or any(value is not None and value.dtype == self._dtype for value in node.inputs)
        for index, output in enumerate(node.outputs):
            if follows and slots.output(index) and output.dtype in (_FLOAT, None):
                output.type = ir.TensorType(self._dtype)
        self.typed += narrowed or any(value.dtype == self._dtype for value in node.outputs)

    def _retarget(self, node: ir.Node) -> bool:
        """Casts and fills say their output type in an attribute."""
        if node.op_type == "Cast" and node.attributes.get_int("to", 0) == _FLOAT.value:
            node.attributes["to"] = ir.AttrInt64("to", self._dtype.value)
        elif node.op_type == "DequantizeLinear" and node.attributes.get_int("output_dtype", 0) == _FLOAT.value:
            node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", self._dtype.value)
        elif node.op_type == "ConstantOfShape" and node.outputs[0].dtype == _FLOAT:
            fill = node.attributes.get("value")
            array = np.zeros(1, np.float32) if fill is None else fill.as_tensor().numpy()
            typed = ir.Tensor(_half(array, self._dtype, saturate=LARGEST), dtype=self._dtype)
            node.attributes["value"] = ir.AttrTensor("value", typed)
        else:
            return False
        node.outputs[0].type = ir.TensorType(self._dtype)
        return True

    def _widen_inputs(self, node: ir.Node) -> None:
        """Give an FP32 node, and a loop body it may carry, FP32 operands."""
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype == self._dtype:
                node.replace_input_with(index, self._to(value, _FLOAT, node))
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                self._widen_captures(attribute.as_graph(), node)

    def _widen_captures(self, body: ir.Graph, outer: ir.Node) -> None:
        for node in body:
            self._widen_inputs(node)
        for index, value in enumerate(body.outputs):
            if value.dtype == self._dtype:
                body.outputs[index] = self._to(value, _FLOAT, outer)

    def _branches(self, node: ir.Node) -> None:
        """Both branches of an If deliver the same type: FP32 on an island, half precision elsewhere."""
        wanted = _FLOAT if node in self._islands else self._dtype
        for attribute in node.attributes.values():
            branch = attribute.as_graph()
            self._graph(branch)
            for index, value in enumerate(branch.outputs):
                if value.dtype in (_FLOAT, self._dtype) and (value.dtype != wanted or value.graph is not branch):
                    branch.outputs[index] = self._append_cast(branch, value, wanted)
        for output in node.outputs:
            if output.dtype == _FLOAT:
                output.type = ir.TensorType(wanted)

    def _append_cast(self, graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        cast = self._cast_node(value, dtype)
        graph.append(cast)
        return cast.outputs[0]

    def _to(self, value: ir.Value, dtype: ir.DataType, user: ir.Node) -> ir.Value:
        """``value`` in ``dtype``: a converted constant, or the one Cast placed right behind its producer."""
        if value.is_initializer() and not value.is_graph_input():
            return self._constant(value, saturate=user.op_type in ("Clip", "Max", "Min"))
        key = (value, dtype)
        if key not in self._casts:
            cast = self._cast_node(value, dtype)
            producer = value.producer()
            if producer is not None:
                assert producer.graph is not None
                producer.graph.insert_after(producer, cast)
            else:
                graph = value.graph
                assert isinstance(graph, ir.Graph)
                graph.insert_before(graph[0], cast)
            self._casts[key] = cast.outputs[0]
        return self._casts[key]

    def _constant(self, value: ir.Value, *, saturate: bool) -> ir.Value:
        """A half-precision initializer beside ``value``; the original goes when nobody needs it any more."""
        key = (value, saturate)
        if key not in self._constants:
            tensor, graph = value.const_value, value.graph
            assert tensor is not None and isinstance(graph, ir.Graph)
            limit = LARGEST if saturate else LARGEST / 2
            if self._dtype == ir.DataType.BFLOAT16:
                limit = float("inf")
            if tensor.size <= EAGER_ELEMENTS and limit < float("inf") and _beyond(tensor.numpy()).any():
                self.notes.append(f"{value.name}: values beyond FP16 saturate at {limit:g}")
            convert, name = partial(_half, dtype=self._dtype, saturate=limit), f"{value.name}_{_SUFFIX[self._dtype]}"
            half = small_at_once(convert, tensor, name, self._dtype)
            self._constants[key] = self._edits.within(graph).initializer(half)
        return self._constants[key]

    def _drop_originals(self) -> None:
        """Remove float constants that lost all users, and let their half-precision form take the name."""
        for (original, _), half in self._constants.items():
            graph = original.graph
            if original.uses() or original.is_graph_output() or not isinstance(graph, ir.Graph):
                continue
            assert original.name is not None and half.name is not None
            graph.initializers.pop(original.name)
            graph.initializers.pop(half.name)
            half.name = original.name
            graph.register_initializer(half)

    def _restore_outputs(self, graph: ir.Graph, given: set[ir.Value]) -> None:
        """Graph outputs stay FP32 under their own names; those of the source's own half precision (``given``) too."""
        restored: dict[ir.Value, ir.Value] = {}
        for index, value in enumerate(graph.outputs):
            if value.dtype != self._dtype or value in given:
                continue
            if value not in restored:
                name = value.name
                wide = self._casts.get((value, _FLOAT))  # a node that stays FP32 may read it too
                if wide is None:
                    cast = self._cast_node(value, _FLOAT)
                    graph.append(cast)
                    wide = cast.outputs[0]
                value.name = self._edits.names.value(f"{name}_{_SUFFIX[self._dtype]}")
                wide.name = name
                restored[value] = wide
            graph.outputs[index] = restored[value]

    def _cast_node(self, value: ir.Value, dtype: ir.DataType) -> ir.Node:
        name = f"{value.name}_to_{_SUFFIX[dtype]}"
        return self._edits.node("Cast", [value], name, name, dtype, value.shape, {"to": dtype.value})


def _beyond(array: Array) -> NDArray[np.bool_]:
    """Finite values that FP16 does not hold."""
    found: NDArray[np.bool_] = np.isfinite(array) & (np.abs(array) > LARGEST)
    return found


def _half(array: Array, dtype: ir.DataType, saturate: float) -> Array:
    """Round to half precision; finite values beyond FP16 become ``saturate``, infinities stay."""
    if dtype == ir.DataType.FLOAT16 and (beyond := _beyond(array)).any():
        array = np.where(beyond, np.copysign(np.float32(saturate), array), array)
    return array.astype(dtype.numpy())
