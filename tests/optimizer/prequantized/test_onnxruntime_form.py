"""ONNX Runtime's form of a source that was made for TensorRT."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from graphs.reading.shapes import infer_shapes
from optimizer.equivalence import compare_graphs
from optimizer.prequantized.onnxruntime import signed_weights as signed
from optimizer.prequantized.onnxruntime.results import quantized_before_pools, quantized_sums
from optimizer.prequantized.onnxruntime.unsigned import unsigned_codes
from tests.optimizer.prequantized.test_tensorrt_repairs import HEAD, MAKE_WEIGHT, PAIR_BEFORE_RELU, RESIDUAL, WEIGHT

POOLED = f"""g (float[1,4,4,4] x) => (float[1,4,2,2] y) <float s = {{0.05}}, int8 z = {{0}}, {WEIGHT}> {{
    c = QuantizeLinear(x, s, z)
    d = DequantizeLinear(c, s, z)
    {MAKE_WEIGHT}
    h = Conv(d, dw)
    r = Relu(h)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
    c2 = QuantizeLinear(p, s, z)
    d2 = DequantizeLinear(c2, s, z)
    y = Conv(d2, dw)
}}"""


def _model(text: str) -> ir.Model:
    model = ir.from_onnx_text(HEAD + text)
    infer_shapes(model)
    return model


def _feeds(scale: float) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": (scale * rng.standard_normal((1, 4, 4, 4))).astype(np.float32)} for _ in range(3)]


def _kernels(model: ir.Model, tmp_path: object) -> list[str]:
    """What ONNX Runtime makes of it."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path) + "/optimized.onnx"
    options.log_severity_level = 3
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in ir.load(options.optimized_model_filepath).graph]


def test_codes_behind_a_relu_are_unsigned_and_saturate_where_they_did(tmp_path: object) -> None:
    text = PAIR_BEFORE_RELU.replace("Relu(d2)", "Relu(h)")
    text = text.replace("c2 = QuantizeLinear(h, s, z)\n    d2 = DequantizeLinear(c2, s, z)\n", "")
    model = _model(text)
    assert _kernels(model, tmp_path).count("QLinearConv") == 0
    assert unsigned_codes(model)
    assert _kernels(model, tmp_path).count("QLinearConv") == 1
    found = compare_graphs(_model(text), model, _feeds(20.0), fuse_qdq=False)
    assert found.max_abs < 1e-5, found  # 20 is far beyond 127 steps of 0.05


def test_a_pair_goes_before_the_pool(tmp_path: object) -> None:
    model = _model(POOLED)
    assert quantized_before_pools(model) and unsigned_codes(model)
    assert compare_graphs(_model(POOLED), model, _feeds(3.0), fuse_qdq=False).max_abs < 1e-5
    assert "QLinearConv" in _kernels(model, tmp_path)


def test_a_residual_sum_adds_codes_whose_range_is_the_sums_and_the_skips(tmp_path: object) -> None:
    text = RESIDUAL.replace("SKIP", "d")
    model = _model(text)
    assert quantized_sums(model) and unsigned_codes(model)
    assert "QLinearAdd" in _kernels(model, tmp_path)
    found = compare_graphs(_model(text), model, _feeds(2.0), fuse_qdq=False)
    assert found.sqnr_db > 25, found


@pytest.mark.parametrize("largest", [127, 63])
def test_weights_are_signed_where_the_processor_does_not_saturate(
    monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(signed, "largest_weight_code", lambda: largest)
    text = """g (float[1,2] x) => (float[1,2] y) <float s = {0.1}, uint8 z = {115}, uint8[2,2] w = {0, 255, 130, 120}> {
        d = DequantizeLinear(w, s, z)
        y = MatMul(x, d)
    }"""
    model = _model(text)
    changed = bool(signed.signed_weights(model))
    codes = model.graph[0].inputs[0]
    assert changed is (largest == 127)
    assert codes is not None and codes.dtype is (ir.DataType.INT8 if changed else ir.DataType.UINT8)
    feed = {"x": np.array([[1.5, -2.0]], np.float32)}
    assert compare_graphs(_model(text), model, [feed], fuse_qdq=False).max_abs == 0


def test_a_sum_that_nobody_quantizes_stays_float() -> None:
    text = RESIDUAL.replace("SKIP", "d").replace(
        "c3 = QuantizeLinear(r, s, z)\n    d3 = DequantizeLinear(c3, s, z)\n    y = Conv(d3, dw)", "y = Sigmoid(r)"
    )
    assert quantized_sums(_model(text)) == []
