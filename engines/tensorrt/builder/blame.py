"""What the ONNX file says about a node that TensorRT refuses: its operator and the outputs it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from graphs.reading.walk import nodes_of

_BOUND = {
    *("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT32", "INT64", "BOOL"),
    *("FLOAT8E4M3FN", "INT4", "FLOAT4E2M1"),
}
"""Types that TensorRT binds inputs with, or reads as another (DOUBLE)."""

_HALVES = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


@dataclass(frozen=True)
class BlamedGraph:
    """The graph of ``model``, read without its weights and only when something is asked."""

    model: Path

    @cached_property
    def makers(self) -> dict[str, str]:
        """Which node makes a tensor, by names, subgraphs included."""
        return {output: node.name for node in nodes_of(self._graph) for output in node.output if output and node.name}

    def at(self, index: int) -> tuple[str, str]:
        """Name and op type of the graph's node of that number, as parsers before TensorRT 9 say which; else empty."""
        nodes = self._graph.node
        return (nodes[index].name, nodes[index].op_type) if 0 <= index < len(nodes) else ("", "")

    @cached_property
    def _nodes(self) -> dict[str, onnx.NodeProto]:
        return {node.name: node for node in nodes_of(self._graph)}

    @cached_property
    def _graph(self) -> onnx.GraphProto:
        try:
            return onnx.load_model(self.model, load_external_data=False).graph
        except DecodeError:  # no ONNX file at all, which is what TensorRT then says
            return onnx.GraphProto()

    def operator(self, node: str) -> str:
        """The op type of the node of that name; empty where there is none."""
        return self._nodes[node].op_type if node in self._nodes else ""

    def operators(self) -> dict[str, str]:
        """Op types by node name, subgraphs included."""
        return {name: node.op_type for name, node in self._nodes.items() if name}

    @cached_property
    def has_half(self) -> bool:
        """Whether anything in the graph is cast to half precision or arrives in it: the rest is not so for a reason."""
        casts = (n.attribute for n in nodes_of(self._graph) if n.op_type == "Cast")
        fed = {value.type.tensor_type.elem_type for value in self._graph.input}
        return bool(_HALVES & {a.i for attributes in casts for a in attributes if a.name == "to"} or _HALVES & fed)

    def only(self, operator: str) -> str:
        """The name of the graph's one node of that op type; empty where there are none or several."""
        names = [node.name for node in self._nodes.values() if node.op_type == operator]
        return names[0] if len(names) == 1 else ""

    def further_outputs(self, node: str) -> str:
        """The outputs that ``node`` gives besides the first, by the standard's names: ``"its output Indices"``."""
        found = self._nodes.get(node)
        used = [index for index, name in enumerate(found.output) if index and name] if found else []
        if found is None or not used:
            return "more"
        formal = _formal_outputs(found.op_type)
        names = [formal[index] if index < len(formal) else found.output[index] for index in used]
        return f"its output{'s' * (len(names) > 1)} {' and '.join(names)}"

    def odd_input(self) -> tuple[str, str]:
        """The first graph input of a type TensorRT cannot bind, and that type; its parser refuses it namelessly."""
        for value in self._graph.input:
            kind = value.type.WhichOneof("value") or ""
            element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
            if kind != "tensor_type":
                return value.name, kind.removesuffix("_type")
            if element not in _BOUND:
                return value.name, element.lower()
        return "", ""


def _formal_outputs(operator: str) -> list[str]:
    return [output.name for output in onnx.defs.get_schema(operator).outputs] if onnx.defs.has(operator) else []
