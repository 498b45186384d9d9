"""ONNX Runtime's own reason, without its wrapping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.reasons import missing_operator, reason_of


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConvInteger node. Name:'c' "
            "Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/quantization/conv_integer.cc:52 virtual "
            "onnxruntime::common::Status onnxruntime::ConvInteger::Compute(onnxruntime::OpKernelContext*) const "
            "IsScalar(W) was false. Non per-tensor quantization is not supported now.\nmore",
            "ConvInteger 'c': IsScalar(W) was false. Non per-tensor quantization is not supported now.",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: "
            "/onnxruntime_src/onnxruntime/core/providers/cpu/rnn/rnn.h:48 onnxruntime::RNN<T>::RNN(const "
            "onnxruntime::OpKernelInfo&) [with T = float] layout_ == 0 was false. Not supported.",
            "layout_ == 0 was false. Not supported.",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /a b/m.onnx failed:Fatal error: my.own:Op(-1) is not a "
            "registered function/op",
            "ONNX Runtime does not know the operator my.own:Op",
        ),
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Det(11) node with name "
            "'d'",
            "ONNX Runtime has no CPU kernel for operator Det with these types (node 'd')",
        ),
        ("something else", "something else"),
    ],
)
def test_the_reason_is_what_is_left(said: str, reason: str) -> None:
    assert reason_of(RuntimeError(said)) == reason


def test_what_the_library_of_today_says_is_unwrapped(tmp_path: Path) -> None:
    """Its wording may change with a version: these are its own errors."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g ({0}[N] x, {0}[N] z) => ({0}[M] y) {{ [m] y = {1}(x, z) }}'
    for body, words in (
        (text.format("int16", "Max"), "ONNX Runtime has no CPU kernel for operator Max with these types (node 'm')"),
        (text.format("float", "MatMul"), "MatMul 'm': "),
    ):
        onnx.save(onnx.parser.parse_model(body), tmp_path / "m.onnx")
        with pytest.raises(EngineError) as caught, OnnxRuntimeEngine(tmp_path / "m.onnx") as engine:
            engine.infer({"x": np.ones(3, np.float32), "z": np.ones(2, np.float32)})
        assert caught.value.what.startswith(words) and "/" not in caught.value.what
    assert missing_operator(ValueError("it")) is None
