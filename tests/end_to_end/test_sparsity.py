"""2:4 sparsity through the real command: what is claimed holds in every graph that leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from graphs.reading.two_four import is_two_four, two_four_products
from tests.end_to_end.conftest import Command
from tests.gpu_machine import environment, in_this_process

JOB = ("--data", "data.npz", "--loadgen", "none", "--sparsity", "2:4")


def plan_of(path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(path.read_text())["nodes"]
    return found


def claimed(path: Path) -> set[str]:
    return {name for name, node in plan_of(path).items() if node["sparsity"] == "2:4"}


def test_what_is_claimed_holds_in_every_graph_and_targets_that_gain_nothing_say_so(
    folder: Path, optimize: Command
) -> None:
    done = optimize("cnn.onnx", *JOB, "--target", "cpu,t4,a100", "--max-drop", "50%")
    assert done.returncode == 0, done.stderr
    bundle = folder / "cnn.optimized"
    sparse = claimed(bundle / "precision.json")
    assert sparse
    assert sparse == two_four_products(ir.load(bundle / "model.onnx"))
    assert claimed(bundle / "engines/cpu/precision.json") == two_four_products(
        ir.load(bundle / "engines/cpu/model.onnx")
    )
    report = json.loads((bundle / "report.json").read_text())
    assert report["precision"]["sparsity"] == "2:4"
    assert "gains nothing" in report["targets"]["t4"]["why"]
    assert "without using it" in report["targets"]["a100"]["why"]
    assert report["targets"]["a100"]["prediction"]["sparse_speedup"] >= 1
    assert report["targets"]["t4"]["prediction"]["sparse_speedup"] is None
    assert json.loads((bundle / "engines/a100/engine.json").read_text())["sparse_weights"] is True
    assert json.loads((bundle / "engines/t4/engine.json").read_text())["sparse_weights"] is False
    assert optimize("deploy", "cnn.optimized", "tensorrt8", "-o", "eight").returncode == 0
    (lowered,) = (folder / "eight").rglob("*.onnx")
    assert sparse <= two_four_products(ir.load(lowered))
    rows = json.loads(optimize("inspect", "cnn.optimized", "--sparsity", "--json").stdout)["weights"]
    assert {row["node"] for row in rows if row["pattern"] == "2:4"} == sparse
    assert sparse.pop() in optimize("explain", "cnn.optimized").stdout


def test_a_tight_budget_leaves_layers_dense_and_says_why(folder: Path, optimize: Command) -> None:
    done = optimize("cnn.onnx", *JOB, "--precision", "fp16", "--target", "a100", "--max-drop", "0.00001%")
    assert done.returncode in (0, 3), done.stderr  # FP16 itself may be over it
    nodes = plan_of(folder / "cnn.optimized/precision.json")
    assert not any(node["sparsity"] for node in nodes.values())
    assert any("left dense for the accuracy budget" in node["sparsity_reason"] for node in nodes.values())
    assert json.loads((folder / "cnn.optimized/report.json").read_text())["precision"]["sparsity"] == "none"


def test_a_model_that_comes_with_it_keeps_it_unasked(folder: Path, optimize: Command) -> None:
    model = onnx.load(folder / "cnn.onnx")
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.dims == [32, 32, 3, 3]:
            weight = onnx.numpy_helper.to_array(tensor).copy()
            weight[:, ::2] = 0
            assert is_two_four(weight, 1)
            model.graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    onnx.save(model, folder / "cnn.onnx")
    done = optimize("cnn.onnx", *JOB[:4], "--target", "a100")
    assert done.returncode == 0, done.stderr
    bundle = folder / "cnn.optimized"
    assert claimed(bundle / "precision.json") == two_four_products(ir.load(bundle / "model.onnx")) != set()
    assert json.loads((bundle / "engines/a100/engine.json").read_text())["sparse_weights"] is True
    assert json.loads((bundle / "report.json").read_text())["precision"]["sparsity"] == "none", "no weight was changed"


def test_required_sparsity_refuses_targets_without_the_cores(folder: Path, optimize: Command) -> None:
    done = optimize("cnn.onnx", *JOB[:4], "--sparsity", "2:4-required", "--target", "t4,a100")
    assert done.returncode == 2
    assert "NVIDIA T4 (Turing) (SM75) has no sparse tensor cores" in " ".join(done.stderr.split())
    assert not (folder / "cnn.optimized").exists()


def test_layers_that_took_a_sparse_tactic_are_read_from_the_builders_log(
    folder: Path, optimize: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(folder / ".cache").items():
        monkeypatch.setenv(name, value)
    with in_this_process():
        done = optimize("cnn.onnx", *JOB, "--target", "a100", "--max-drop", "50%")
    assert done.returncode == 0, done.stderr
    engine = json.loads((folder / "cnn.optimized/engines/a100/engine.json").read_text())
    assert engine["sparse_weights"] is True and engine["backend"] == "tensorrt"
    assert engine["sparse_tactics"] == {"eligible": 3, "chosen": 1, "layers": ["Conv_first"]}
    assert any("1 of 3 eligible layers took a sparse tactic: Conv_first" in note for note in engine["notes"])
