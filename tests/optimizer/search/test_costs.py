"""What leaving int8 costs: measured of the CPU's kernels, predicted of GPUs, in what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import optimizer.search.costs as costs
from engines.targets.target import resolve_targets
from graphs.reading.macs import count_macs
from optimizer.demo.fashion import MODEL
from optimizer.importing import import_model
from optimizer.search.costs import cpu_costs, gpu_costs
from optimizer.search.trades import cpu_trade, gpu_trade

SHAPES = {"input": (1, 1, 28, 28)}
FEED = {"input": np.zeros((1, 1, 28, 28), np.float32)}


@pytest.fixture(scope="module")
def graph() -> tuple[ir.Model, dict[str, int]]:
    model = import_model(MODEL).model
    return model, {name: cost.macs for name, cost in count_macs(model, SHAPES).items() if cost.macs}


@pytest.mark.parametrize("wanted", ["latency", "throughput", "size", "energy"])
def test_costs_on_gpus_are_shares_and_say_what_they_are(graph: tuple[ir.Model, dict[str, int]], wanted: str) -> None:
    model, macs = graph
    found = gpu_costs(model, SHAPES, macs, resolve_targets(["t4", "a100"]), wanted, batchable=True)
    assert sum(found.by_node.values()) == pytest.approx(1.0) and found.by_node.keys() == macs.keys()
    assert found.by_node["/9/conv2/Conv"] > found.by_node["/12/Gemm"]
    assert ("weights" if wanted == "size" else "Turing") in found.how


def test_a_layer_of_many_weights_and_few_products_costs_most_where_size_is_asked_for(
    graph: tuple[ir.Model, dict[str, int]],
) -> None:
    model, macs = graph
    by = {
        wanted: gpu_costs(model, SHAPES, macs, resolve_targets(["t4"]), wanted, batchable=True).by_node
        for wanted in ("size", "throughput")
    }
    early, late = "/4/conv1/Conv", "/9/conv1/Conv"  # 2 and 36 thousand weights, on 28 x 28 and on 7 x 7
    assert by["size"][late] / by["size"][early] > 5 * by["throughput"][late] / by["throughput"][early]


def test_without_known_rates_multiply_accumulates_count(graph: tuple[ir.Model, dict[str, int]]) -> None:
    found = gpu_costs(graph[0], SHAPES, graph[1], [], "latency", batchable=True)
    assert found.how == "multiply-accumulates" and found.by_node["/12/Gemm"] == min(found.by_node.values())


def test_every_kernel_of_the_cpu_is_found_by_its_node(graph: tuple[ir.Model, dict[str, int]]) -> None:
    found = cpu_costs(MODEL, MODEL, FEED, graph[1], graph[1], "latency")
    assert f"{len(graph[1])} of {len(graph[1])} nodes" in found.how
    assert found.by_node.keys() == graph[1].keys() and all(cost > 0 for cost in found.by_node.values())


def test_where_float_is_nowhere_slower_nodes_cost_by_their_products(
    graph: tuple[ir.Model, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "_times_by_node", lambda path, feed, macs: dict.fromkeys(macs, 0.5))
    found = cpu_costs(MODEL, MODEL, FEED, graph[1], graph[1], "latency").by_node
    total = sum(graph[1].values())
    assert found == pytest.approx({node: macs / total for node, macs in graph[1].items()})


def test_a_form_has_a_latency_and_a_size() -> None:
    predicted, measured = gpu_trade(MODEL, SHAPES, resolve_targets(["t4"])), cpu_trade(MODEL, FEED)
    assert predicted.latency_ms.keys() == {"t4"} and measured.latency_ms["cpu"] > 0
    assert predicted.bytes == measured.bytes == Path(MODEL).stat().st_size
