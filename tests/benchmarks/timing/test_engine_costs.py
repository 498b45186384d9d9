"""Why a quantized GPU engine lost: layers of two engines compared over the nodes they run, however they are fused."""

from __future__ import annotations

import pytest

from benchmarks.timing.engine_costs import engine_costs
from engines.layers import LayerInfo, Role


def layer(name: str, *nodes: str, role: Role = "compute") -> LayerInfo:
    return LayerInfo(name, "kernel", ("int8",), (), ("float16",), "", nodes, role)


INT8 = [
    layer("Q", "x/Q", role="quantize"),
    layer("conv1", "conv1"),
    layer("relu1", "relu1"),
    layer("conv2 + relu2", "conv2", "relu2"),
    layer("to HWC", role="reformat"),
]
FP16 = [layer("conv1 + relu1", "conv1", "relu1"), layer("conv2", "conv2"), layer("relu2", "relu2")]


def test_nodes_fused_otherwise_are_compared_together() -> None:
    quantized = {"Q": 0.2, "conv1": 0.5, "relu1": 0.4, "conv2 + relu2": 0.3, "to HWC": 0.1}
    found = engine_costs(quantized, INT8, {"conv1 + relu1": 0.6, "conv2": 0.7, "relu2": 0.1}, FP16)
    assert found.slower == {"conv1": pytest.approx(0.3)} and found.faster_ms == pytest.approx(0.5)
    assert found.conversions == 2 and found.conversions_ms == pytest.approx(0.3)
    assert found.sentence == "2 kernels that convert or move data: +0.3 ms; slower: conv1 +0.3 ms; all others: -0.5 ms"


def test_a_layer_that_no_table_has_is_no_nodes() -> None:
    found = engine_costs({"odd": 1.0, "conv2 + relu2": 0.3}, INT8, {"conv2": 0.3, "relu2": 0.0}, FP16)
    assert found.conversions == 1 and found.conversions_ms == pytest.approx(1.0) and not found.slower
