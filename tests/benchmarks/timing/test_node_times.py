"""Kernel times of ONNX Runtime come back to the nodes that they run, whatever it has made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from benchmarks.timing.node_times import times_of_nodes
from benchmarks.timing.op_times import KernelTime, by_operator, profile_kernels
from tests.end_to_end.conftest import cnn


def test_a_fused_kernel_counts_at_the_node_that_does_its_work(tmp_path: Path) -> None:
    onnx.save(cnn(), tmp_path / "cnn.onnx")
    graph = ir.load(tmp_path / "cnn.onnx")
    for node in graph.graph:
        node.name = f"the {node.outputs[0].name}"
    ir.save(graph, tmp_path / "cnn.onnx")
    kernels = profile_kernels(tmp_path / "cnn.onnx", {"input": np.ones((1, 3, 16, 16), np.float32)}, runs=3)
    found = times_of_nodes(graph, kernels)
    assert {"the first", "the second", "the logits"} <= found.keys(), "fused with a ReLU, with an Add and a ReLU, alone"
    assert sum(found.values()) == pytest.approx(sum(op.milliseconds for op in by_operator(kernels)))


def test_names_that_no_node_has_stay() -> None:
    kernels = [
        KernelTime("first_token_3", "QLinearConv", 1.0),
        KernelTime("ReorderOutput_token_9", "ReorderOutput", 2.0),
    ]
    model = ir.from_proto(cnn())
    for node in model.graph:
        node.name = node.outputs[0].name
    assert times_of_nodes(model, kernels) == {"first": 1.0, "ReorderOutput_token_9": 2.0}
