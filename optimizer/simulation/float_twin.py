"""A float32 twin of a typed graph whose every half-precision tensor passes through that type.

ONNX Runtime's CPU kernels compute FP16 graphs in FP32 and drop casts between their own nodes, so that neither rounding
nor overflow shows; BF16 it hardly runs at all. In the twin every operator computes in FP32 (matrix products and
convolutions accumulate so on tensor cores too) and its output goes through ``Cast`` to the half type and back, a pair
that ONNX Runtime keeps at every optimization level (``tests/optimizer/simulation`` holds it to that).
"""

from __future__ import annotations

from collections import defaultdict

import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.writing.float_types import cast_tensor, float32_attributes, float32_type
from graphs.writing.free_names import FreeNames
from graphs.writing.lazy_tensors import EAGER_ELEMENTS
from optimizer.simulation.composites import expand_composites

HALF_TYPES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_FLOAT = ir.DataType.FLOAT
EXACT = {
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Gather", "GatherElements"),
    *("GatherND", "Concat", "Split", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Pad", "Compress", "Trilu"),
    *("Relu", "Clip", "Max", "Min", "Abs", "Neg", "Sign", "Where", "MaxPool", "GlobalMaxPool", "ReduceMax"),
    *("ReduceMin", "TopK", "Unique", "ReverseSequence", "Dropout", "Constant", "ConstantOfShape", "Round", "Floor"),
    *("Ceil", "If", "Loop", "Scan", "SequenceAt", "SequenceConstruct", "SequenceInsert", "SequenceErase"),
    *("SplitToSequence", "ConcatFromSequence", "SequenceEmpty", "SequenceMap", "Optional", "OptionalGetElement"),
}
"""Operators whose results are among their operands (or integers no larger): there is nothing to round."""
_TYPED_AS = "type in the typed graph"


def float_twin(model: ir.Model) -> None:
    """Turn a typed ``model`` into its twin, in place. Inputs and outputs keep names and types, tensors their names."""
    expand_composites(model, HALF_TYPES)
    _Twin(model).run()


class _Twin:
    def __init__(self, model: ir.Model) -> None:
        self._model, self._names = model, FreeNames(model.graph)
        self._delivered: dict[ir.Value, list[tuple[ir.Graph, int]]] = defaultdict(list)
        """Where a value leaves a graph: the main one, or a body that may hand on a value from outside."""
        for graph in self._graphs():
            for index, value in enumerate(graph.outputs):
                self._delivered[value].append((graph, index))

    def _graphs(self) -> list[ir.Graph]:
        return [graph for graph in self._model.graphs() if isinstance(graph, ir.Graph)]

    def run(self) -> None:
        main = self._model.graph
        for graph in self._graphs():
            nodes = list(graph)
            for value in list(graph.inputs):
                if _is_half(value) and graph is main:
                    self._read_through(value, self._cast_at_start(graph, value))
                else:
                    widen_type(value)
            for value in list(graph.initializers.values()):
                if _is_half(value) and not value.is_graph_input():
                    self._initializer(graph, value)
            for node in nodes:
                self._node(node)
        self._restore_outputs(main)

    def _initializer(self, graph: ir.Graph, value: ir.Value) -> None:
        tensor = value.const_value
        assert tensor is not None and value.dtype is not None
        if tensor.size > EAGER_ELEMENTS:  # stays as it is stored
            self._read_through(value, self._cast_at_start(graph, value))
            return
        value.meta[_TYPED_AS] = value.dtype
        value.const_value = cast_tensor(tensor, _FLOAT, value.name)
        value.type = ir.TensorType(_FLOAT)

    def _node(self, node: ir.Node) -> None:
        """Let ``node`` compute in FP32 and round what it makes where that is half precision."""
        widen_attributes(node)
        exact = node.op_type in EXACT and is_standard(node)
        for output in (output for output in node.outputs if output.name):  # one left out has no name
            dtype, is_tensor = output.dtype, isinstance(output.type, ir.TensorType)
            widen_type(output)
            if dtype in HALF_TYPES and is_tensor:
                assert dtype is not None
                result = output if exact else self._rounded(node, output, dtype)
                result.meta[_TYPED_AS] = dtype

    def _rounded(self, node: ir.Node, output: ir.Value, dtype: ir.DataType) -> ir.Value:
        """``output`` through ``dtype`` and back, under its name, for everybody who reads it."""
        name = str(output.name)
        nodes, values = self._names.node, self._names.value
        narrow = ir.node("Cast", [output], {"to": dtype.value}, name=nodes(f"{name}/narrow"))
        wide = ir.node("Cast", [narrow.outputs[0]], {"to": _FLOAT.value}, name=nodes(f"{name}/round"))
        narrow.outputs[0].name, narrow.outputs[0].type = values(f"{name}/half"), ir.TensorType(dtype)
        output.name = values(f"{name}/unrounded")
        result = wide.outputs[0]
        result.name, result.type, result.shape = name, ir.TensorType(_FLOAT), output.shape
        assert node.graph is not None
        node.graph.insert_after(node, [narrow, wide])
        self._read_through(output, result, but=narrow)
        for graph, index in self._delivered.pop(output, ()):
            graph.outputs[index] = result
            self._delivered[result].append((graph, index))
        return result

    def _read_through(self, value: ir.Value, stand_in: ir.Value, but: ir.Node | None = None) -> None:
        """Nodes that read ``value``, but for ``but`` and the one that makes ``stand_in``, read ``stand_in``."""
        for node, index in list(value.uses()):
            if node is not stand_in.producer() and node is not but:
                node.replace_input_with(index, stand_in)

    def _restore_outputs(self, graph: ir.Graph) -> None:
        """Outputs of the main graph that are half precision in the typed graph are so here."""
        cast: dict[ir.Value, ir.Value] = {}
        for index, value in enumerate(list(graph.outputs)):
            dtype = value.meta.get(_TYPED_AS)
            if dtype is None:
                continue
            if value not in cast:
                cast[value] = self._as_typed(graph, value, dtype)
            graph.outputs[index] = cast[value]

    def _as_typed(self, graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = str(value.name)
        node = ir.node("Cast", [value], {"to": dtype.value}, name=self._names.node(f"{name}/as typed"))
        output = node.outputs[0]
        if value.is_initializer():
            output.name = self._names.value(f"{name}/as typed")
        else:
            value.name, output.name = self._names.value(f"{name}/wide"), name
        output.type, output.shape = ir.TensorType(dtype), value.shape
        graph.append(node)
        return output

    def _cast_at_start(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        name = f"{value.name}/wide"
        node = ir.node("Cast", [value], {"to": _FLOAT.value}, name=self._names.node(name))
        output = node.outputs[0]
        output.name, output.type, output.shape = self._names.value(name), ir.TensorType(_FLOAT), value.shape
        if len(graph):
            graph.insert_before(graph[0], [node])
        else:
            graph.append(node)
        return output


def _is_half(value: ir.Value) -> bool:
    return value.dtype in HALF_TYPES


def widen_attributes(node: ir.Node) -> None:
    """Types and tensors that attributes of ``node`` hold: FP32 in place of half precision."""
    float32_attributes(node, HALF_TYPES)


def widen_type(value: ir.Value) -> None:
    """The type of ``value``, a tensor's or a container's: FP32 in place of half precision."""
    if value.type is not None:
        value.type = float32_type(value.type, HALF_TYPES)
