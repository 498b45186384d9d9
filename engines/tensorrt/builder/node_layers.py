"""Which ONNX nodes a layer of a parsed network, or of a built engine, computes.

From 8.6 on layers carry the names of their nodes as metadata. The parser of 8.5 leaves other marks (``registerLayer``
and ``importNode`` of onnx-tensorrt): it names a node's layer after the node, with ``_1`` and so on where that name
was taken and with a suffix for Q/DQ; it gives the tensors a node makes their ONNX names; and it imports node by node,
so that helpers without a name (``(Unnamed Layer* 3) [Shuffle]``) come right before the layer they help.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engines.tensorrt.builder.blame import BlamedGraph
from engines.tensorrt.builder.build_log import onnx_nodes
from engines.tensorrt.library import Library

_SUFFIX = re.compile(r"(?:_(?:de)?quantize_scale_node)?(?:_\d+)?$")
"""What 8.5's parser puts behind a node's name: Q/DQ in its ``QuantDequantLinearHelper``, a number in
``generateUniqueName``."""
_FUSED = re.compile(r" \+ | \|\| |, |\.\.\.")
"""What stands between the names of layers that 8.5's builder fused into one."""
_WRAPPED = re.compile(r"^\{?(?:PWN|ForeignNode|fusion)?[(\[]+|[)\]]+\}?$")
"""What it puts around them: ``PWN(relu)`` for point-wise kernels, ``{ForeignNode[a...b]}`` for its compiler's."""

_COMPILED = re.compile(r"^\{ForeignNode\[(.+)\.\.\.(.+)\]\}$")
"""The builder's name for all that its compiler takes from one node to another."""


def ends_of(name: str) -> tuple[str, ...]:
    """The first and the last of what the builder's compiler takes as one, ``{ForeignNode[a...b]}``; else the name."""
    match = _COMPILED.match(name)
    return match.groups() if match else (name,)


def layers_of(network: Any) -> list[Any]:
    """The layers of an ``INetworkDefinition`` in order."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def nodes_of_layers(library: Library, layers: Sequence[Any], graph: BlamedGraph) -> list[tuple[str, ...]]:
    """The ONNX nodes of each of ``layers``; empty for what the parser added on its own."""
    if library.capabilities.layer_metadata:
        return [onnx_nodes(layer.metadata or "") for layer in layers]
    found: list[tuple[str, ...]] = []
    following: tuple[str, ...] = ()
    for layer in reversed(layers):
        node = node_named(str(layer.name), graph) or _maker(layer, graph)
        following = (node,) if node else following
        found.append(following)
    return found[::-1]


def node_named(name: str, graph: BlamedGraph) -> str:
    """The node that a layer is named after; empty where it is none's."""
    if graph.operator(name):
        return name
    bare = _SUFFIX.sub("", name)
    return bare if graph.operator(bare) else ""


def nodes_in_name(name: str, graph: BlamedGraph) -> tuple[str, ...]:
    """The nodes in the name of an engine's layer, ``weight + Q_quantize_scale_node + conv1 + PWN(relu1)``, each once.

    Reformatting copies name the layer they serve and compute no node.
    """
    if node := node_named(name, graph):  # a node's own name may hold any of the separators
        return (node,)
    if name.startswith("Reformatting CopyNode"):
        return ()
    parts = (_WRAPPED.sub("", part.strip()) for part in _FUSED.split(_WRAPPED.sub("", name)))
    return tuple(dict.fromkeys(node for part in parts if (node := node_named(part, graph))))


def _maker(layer: Any, graph: BlamedGraph) -> str:
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return next((graph.makers[out.name] for out in outputs if out is not None and out.name in graph.makers), "")
