"""The typed graph that TensorRT 8 computes where it takes every liberty it is given: half precision wherever it may."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.operators import is_standard
from graphs.tensorrt.tensorrt8.operators import OPSET
from graphs.writing.edits import GraphEdits
from graphs.writing.float_types import cast_tensor
from graphs.writing.free_names import FreeNames
from optimizer.importing.versions import convert_to_current
from optimizer.passes.half_precision.slots import half_slots
from optimizer.tensorrt8.lowering import Lowered

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_BODIES = frozenset({"If", "Loop", "Scan"})


def half_again(lowered: Lowered) -> ir.Model:
    """A copy of the lowered graph, in opset 21, in which every node that may compute in FP16 does: its operands and
    results go through FP16. Simulated (``optimizer.simulation``), it tells what the engine's outputs lose at most.
    """
    model = lowered.model.clone()
    narrow = _Narrowing(model)
    for graph in model.graphs():
        for node in list(graph):
            if node.name in lowered.rounded and is_standard(node) and node.op_type not in _BODIES:
                narrow.node(node)
    convert_to_current(model, "the graph for TensorRT 8")
    return model


class _Narrowing:
    def __init__(self, model: ir.Model) -> None:
        self._names = FreeNames(model.graph)
        self._halves: dict[tuple[ir.Graph, ir.Value], ir.Value] = {}

    def node(self, node: ir.Node) -> None:
        """Let ``node`` read and make FP16, where its operator can."""
        slots = half_slots(node.op_type, OPSET, _HALF)
        if slots is None:
            return
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype == _FLOAT and slots.ties(index):
                node.replace_input_with(index, self._half(node, value))
        for index, output in enumerate(node.outputs):
            if output.name and output.dtype == _FLOAT and slots.output(index):
                self._widen_behind(node, output)

    def _half(self, node: ir.Node, value: ir.Value) -> ir.Value:
        """``value`` in FP16, once for each graph that reads it."""
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        if (graph, value) not in self._halves:
            tensor = constant_tensor(value)
            self._halves[graph, value] = (
                self._cast_before(node, value) if tensor is None else self._rounded(graph, tensor, f"{value.name}/half")
            )
        return self._halves[graph, value]

    def _cast_before(self, node: ir.Node, value: ir.Value) -> ir.Value:
        assert isinstance(node.graph, ir.Graph)
        cast = self._cast(value, _HALF, f"{value.name}/as_half")
        node.graph.insert_before(node, [cast])
        return cast.outputs[0]

    def _rounded(self, graph: ir.Graph, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        """A constant in FP16: ONNX Runtime makes a LayerNormalization of two types where its scale is behind a Cast."""
        return GraphEdits(graph, self._names).initializer(cast_tensor(tensor, _HALF, name))

    def _widen_behind(self, node: ir.Node, output: ir.Value) -> None:
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        uses = list(output.uses())
        wide = self._cast(output, _FLOAT, f"{output.name}/in_half")
        graph.insert_after(node, [wide])
        result = wide.outputs[0]
        output.name, result.name = result.name, output.name
        output.type = ir.TensorType(_HALF)
        for user, index in uses:
            user.replace_input_with(index, result)
        for index, value in enumerate(graph.outputs):
            if value is output:
                graph.outputs[index] = result

    def _cast(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
        node = ir.node("Cast", [value], {"to": dtype.value}, name=self._names.node(name))
        output = node.outputs[0]
        output.name, output.type, output.shape = self._names.value(name), ir.TensorType(dtype), value.shape
        return node
