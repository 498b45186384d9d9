"""``optimize inspect --target``: per-layer bounds from a float model typed as asked, and errors that say what to do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest
from rich.console import Console

from engines.engine import TensorSpec
from engines.targets.target import CPU, TARGETS
from graphs.errors import BadInput
from optimizer.attempt import STRICT
from optimizer.importing import import_model
from optimizer.settings.options import Precision
from optimizer.stages.report.prediction import predict_targets
from optimizer.verbs.inspect.bounds import as_typed
from optimizer.verbs.inspect.model import inspect_model, render
from tests.end_to_end.conftest import cnn


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The residual CNN of the end-to-end tests, each node named after its output."""
    proto, path = cnn(), tmp_path / "cnn.onnx"
    for node in proto.graph.node:
        node.name = node.output[0]
    path.write_bytes(proto.SerializeToString())
    return path


def test_the_graphs_own_types_are_taken(model: Path) -> None:
    found = inspect_model(model, targets=["t4", "a100-pcie-40gb"])
    assert list(found.targets) == ["t4", "a100-pcie-40gb"]
    t4 = found.targets["t4"]
    assert t4.precision == "as typed" and t4.prediction.gpu == "NVIDIA T4"
    assert [layer.name for layer in t4.layers] == ["first", "second", "pooled", "logits"]
    assert t4.layers[1].nodes == ["second", "sum", "sum_relu"]
    assert {layer.dtype for layer in t4.layers} == {"fp32", ""}
    assert sum(layer.share for layer in t4.layers) == pytest.approx(1.0)
    assert sum(layer.flops for layer in t4.layers) == found.flops * t4.batch


def test_a_float_model_is_typed_as_the_main_job_would(model: Path) -> None:
    int8, fp16, full = (
        inspect_model(model, targets=["a100"], precision=precision).targets["a100"]
        for precision in (Precision.INT8, Precision.FP16, None)
    )
    assert {layer.name: layer.dtype for layer in int8.layers}["second"] == "int8"
    assert {layer.name: layer.dtype for layer in fp16.layers}["second"] == "fp16"
    moved = [sum(layer.bytes for layer in found.layers if layer.name == "second") for found in (int8, fp16, full)]
    assert max(moved[:2]) < moved[2]


def test_a_larger_batch_is_predicted_to_serve_more(model: Path) -> None:
    one, many = (inspect_model(model, targets=["t4"], batch=batch).targets["t4"] for batch in (1, 64))
    assert many.prediction.throughput > 5 * one.prediction.throughput
    assert one.prediction.latency_ms == many.prediction.latency_ms


def test_the_page_says_predicted_and_shows_the_top_layers(model: Path) -> None:
    stream = io.StringIO()
    render(inspect_model(model, targets=["l4"]), Console(file=stream, width=160), top=2)
    text = stream.getvalue()
    assert "PREDICTED, not measured" in text and "no result of this GPU generation" in text.replace("\n", " ")
    rows = [line for line in text.splitlines() if line.startswith(("first ", "second ", "pooled ", "logits "))]
    assert len(rows) == 2 and "second" in rows[0]
    assert "4 kernels; time by bound:" in text


def test_an_unknown_gpu_and_a_typed_model_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no peak rates are known for 'k80'"):
        inspect_model(model, targets=["k80"])
    assert inspect_model(model, targets=["l4"], precision=Precision.FP8).targets["l4"]
    typed = tmp_path / "typed.onnx"
    ir.save(as_typed(import_model(model).model, {"input": (1, 3, 16, 16)}, Precision.INT8), typed)
    assert inspect_model(typed, targets=["t4"]).int8_mac_share > 0.9
    with pytest.raises(BadInput, match="quantized already"):
        inspect_model(typed, targets=["t4"], precision=Precision.FP16)


def test_predictions_of_a_job_are_for_gpus_only(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = (TensorSpec("input", "float32", ("batch", 3, 16, 16)),)
    said: list[str] = []
    shapes = {"input": (1, 3, 16, 16)}
    found = predict_targets(model, specs, shapes, [CPU, TARGETS["t4"], TARGETS["b200"]], said.append)
    assert list(found) == ["t4", "b200"] and found["t4"].batch == 128
    fixed = (TensorSpec("input", "float32", (1, 3, 16, 16)),)
    alone = predict_targets(model, fixed, shapes, [TARGETS["t4"]], said.append)["t4"]
    assert alone.batch == 1 and alone.throughput == pytest.approx(1e3 / alone.latency_ms, rel=0.02)
    assert predict_targets(model, specs, {}, [CPU], said.append) == {} and not said
    monkeypatch.delenv(STRICT)
    assert predict_targets(model.with_name("gone.onnx"), specs, shapes, [TARGETS["t4"]], said.append) == {}
    assert said[0].startswith("left out: prediction by the roofline model")


def test_the_command_prints_json_and_refuses_in_one_message(model: Path) -> None:
    def optimize(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "optimizer.cli.main", "inspect", str(model), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    found = json.loads(optimize("--target", "t4,h100", "--precision", "int8", "--json").stdout)
    assert found["targets"]["h100"]["prediction"]["checked"] is False
    assert found["targets"]["t4"]["layers"][0]["bound"] in ("compute", "memory", "overhead")
    refused = optimize("--target", "t5")
    assert refused.returncode == 2 and "no peak rates are known for 't5'" in refused.stderr
