"""Half precision taken out of a typed graph: what the builder of TensorRT 8 computes in is told beside the graph.

Constants keep the values they were rounded to. Inputs and outputs of the network stay FP16 where they were.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.writing.edits import bypass
from graphs.writing.float_types import cast_tensor
from graphs.writing.free_names import FreeNames
from optimizer.simulation.float_twin import HALF_TYPES, widen_attributes, widen_type

_FLOAT = ir.DataType.FLOAT


def widen(model: ir.Model) -> list[str]:
    """Make every half-precision tensor inside ``model`` FP32, in place, and take the casts out that lead nowhere now;
    returns notes.
    """
    names, outputs = FreeNames(model.graph), [value.dtype for value in model.graph.outputs]
    narrow = sum(value.dtype == ir.DataType.BFLOAT16 for node in model.graph.all_nodes() for value in node.outputs)
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.dtype in HALF_TYPES and value.const_value is not None:
                value.const_value = cast_tensor(value.const_value, _FLOAT, value.name)
                value.type = ir.TensorType(_FLOAT)
        for value in graph.inputs:
            if graph is not model.graph:
                widen_type(value)
        for node in graph:
            widen_attributes(node)
            for output in node.outputs:
                widen_type(output)
    for value in model.graph.inputs:
        if value.dtype in HALF_TYPES:
            _read_wide(model.graph, value, names)
    casts = sum(_take_out(node) for graph in model.graphs() for node in list(graph) if _is_idle(node))
    for index, dtype in enumerate(outputs):
        if dtype in HALF_TYPES:
            _deliver_narrow(model.graph, index, dtype, names)
    notes = [f"{casts} casts taken out: what is computed in half precision is told beside the graph"] if casts else []
    return notes + ([f"{narrow} tensors are FP32 in place of bf16, which TensorRT 8 has not"] if narrow else [])


def _read_wide(graph: ir.Graph, value: ir.Value, names: FreeNames) -> None:
    """Everybody who reads the input ``value`` reads it through a Cast to FP32."""
    uses = list(value.uses())
    if not uses:
        return
    cast = _cast(value, _FLOAT, f"{value.name}/wide", names)
    graph.insert_before(graph[0], [cast])
    for node, index in uses:
        node.replace_input_with(index, cast.outputs[0])


def _deliver_narrow(graph: ir.Graph, index: int, dtype: ir.DataType, names: FreeNames) -> None:
    """Output ``index`` in the type it had, and under its name; a network's own input may be delivered as it is."""
    value = graph.outputs[index]
    if value.dtype == dtype:
        return
    cast = _cast(value, dtype, f"{value.name}/narrow", names)
    if not (value.is_graph_input() or value.is_initializer() or graph.outputs.count(value) > 1):
        value.name, cast.outputs[0].name = cast.outputs[0].name, value.name
    graph.append(cast)
    graph.outputs[index] = cast.outputs[0]


def _cast(value: ir.Value, dtype: ir.DataType, name: str, names: FreeNames) -> ir.Node:
    node = ir.node("Cast", [value], {"to": dtype.value}, name=names.node(name))
    output = node.outputs[0]
    output.name, output.type, output.shape = names.value(name), ir.TensorType(dtype), value.shape
    return node


def _is_idle(node: ir.Node) -> bool:
    """Whether ``node`` casts FP32 to FP32."""
    source = node.inputs[0] if node.op_type == "Cast" and is_standard(node) else None
    return source is not None and source.dtype == _FLOAT and node.outputs[0].dtype == _FLOAT


def _take_out(node: ir.Node) -> bool:
    """Let readers of the Cast read what it casts; where it hands on to an output what has a name of its own, it stays
    as an Identity.
    """
    value, output = node.inputs[0], node.outputs[0]
    assert value is not None
    producer = value.producer()
    if output.is_graph_output() and (
        producer is None or producer.graph is not node.graph or value.is_graph_output() or value.is_initializer()
    ):
        node.op_type = "Identity"
        node.attributes.clear()
        return False
    bypass(node, value)
    return True
