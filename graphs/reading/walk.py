"""Every graph and node of an ONNX message. In ``onnx_ir`` the same is ``Model.graphs`` and ``Graph.all_nodes``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def graphs_of(proto: onnx.ModelProto | onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The main graph, then those inside its nodes and, for a model, inside the nodes of its functions."""
    if isinstance(proto, onnx.ModelProto):
        yield from graphs_of(proto.graph)
        for function in proto.functions:
            yield from _inside(function.node)
    else:
        yield proto
        yield from _inside(proto.node)


def nodes_of(proto: onnx.ModelProto | onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of ``graphs_of``, and of a model's functions."""
    for graph in graphs_of(proto):
        yield from graph.node
    if isinstance(proto, onnx.ModelProto):
        for function in proto.functions:
            yield from function.node


def _inside(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs_of(attribute.g)
            for graph in attribute.graphs:
                yield from graphs_of(graph)
