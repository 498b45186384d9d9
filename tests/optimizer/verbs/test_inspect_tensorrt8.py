"""optimize inspect --tensorrt8: what would be refused, or what takes another form, with no library here."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from optimizer.verbs.inspect.model import inspect_model
from tests.optimizer.tensorrt8.lowering import model_of


def limits(text: str, folder: Path, *, tensorrt8: bool = True) -> list[str]:
    ir.save(model_of(text), folder / "model.onnx")
    return inspect_model(folder / "model.onnx", tensorrt8=tensorrt8).limits


def test_what_takes_another_form_is_counted(tmp_path: Path) -> None:
    found = limits("g (float[2, 3] x) => (float[2, 3] y) { a = Gelu(x) y = Gelu(a) }", tmp_path)
    assert found == [
        "TensorRT 8 takes it (optimize deploy BUNDLE tensorrt8)",
        "TensorRT 8: 2 Gelu written in the form of opset 17",
    ]


def test_every_node_that_would_be_refused_is_named(tmp_path: Path) -> None:
    text = "g (float[2, 2] x) => (float y) { [one] a = Det(x) n = Neg(x) [two] b = Det(n) y = Add(a, b) }"
    assert limits(text, tmp_path) == [
        f"{name}: TensorRT 8 cannot take it: the parser has no operator Det" for name in ("one", "two")
    ]
    assert limits(text, tmp_path, tensorrt8=False) == []
