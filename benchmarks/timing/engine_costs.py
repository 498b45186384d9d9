"""Why a quantized GPU engine lost, from the layer profiles of two engines of one graph.

Two engines fuse differently: what is one layer in one is three in the other. So nodes that share a layer in either are
compared together, under the name of the one whose layer takes longest in the quantized engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.timing.quantized_costs import QuantizedCosts
from engines.layers import LayerInfo

Times = Mapping[str, float]
"""Milliseconds by layer name."""


def engine_costs(
    quantized: Times, its_layers: Sequence[LayerInfo], plain: Times, other_layers: Sequence[LayerInfo]
) -> QuantizedCosts:
    """``its_layers`` and ``other_layers`` are the engines' layer tables; a layer that is in none of them, or runs no
    node of the graph, counts with what converts.
    """
    leaders = _leaders([*its_layers, *other_layers])
    names = _names(leaders, quantized, its_layers)
    mine = _by_group(quantized, its_layers, leaders, names)
    return QuantizedCosts.between(mine, _by_group(plain, other_layers, leaders, names), set(names.values()))


def _runs(layer: LayerInfo) -> tuple[str, ...]:
    """The nodes that a layer computes; none for what converts."""
    return layer.onnx_nodes if layer.role == "compute" else ()


def _leaders(layers: Sequence[LayerInfo]) -> dict[str, str]:
    """Node -> the node that stands for all it shares layers with, directly or over others."""
    leaders: dict[str, str] = {}

    def leader(node: str) -> str:
        while leaders.setdefault(node, node) != node:
            node = leaders[node]
        return node

    for layer in layers:
        for node in _runs(layer):
            leaders[leader(node)] = leader(_runs(layer)[0])
    return {node: leader(node) for node in list(leaders)}


def _names(leaders: Mapping[str, str], times: Times, layers: Sequence[LayerInfo]) -> dict[str, str]:
    """Leader -> the name of its group: the first node of its longest layer."""
    names = {leader: leader for leader in leaders.values()}
    for layer in sorted(layers, key=lambda layer: times.get(layer.name, 0.0)):
        if _runs(layer):
            names[leaders[_runs(layer)[0]]] = _runs(layer)[0]
    return names


def _by_group(
    times: Times, layers: Sequence[LayerInfo], leaders: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, float]:
    """Milliseconds by group, and by layer for those that convert."""
    nodes = {layer.name: _runs(layer) for layer in layers}
    found: dict[str, float] = {}
    for layer, time in times.items():
        run = nodes.get(layer, ())
        name = names[leaders[run[0]]] if run else f"layer {layer}"
        found[name] = found.get(name, 0.0) + time
    return found
