"""Products that overflow FP16 are scaled by powers of two: the same numbers, in range."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from graphs.tensorrt.lint import Rule, lint
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.passes.half_precision.scale_products import ScaleProducts
from optimizer.passes.infer_shapes import InferShapes
from optimizer.simulation.extremes import observe_extremes
from optimizer.typed.islands import answers
from tests.drawing import seeded
from tests.optimizer.passes.models import drawn

RNG = seeded(3)
MODELS = {
    "matmul": "g (float[N, 8] x, float[8, 8] w, float[8, 8] v) => (float[N, 8] y) { [up] a = MatMul(x, w) r = Relu(a) [down] b = MatMul(r, v) [norm] n = LpNormalization<axis = -1>(b) [head] y = MatMul(n, n0) }".replace(
        "MatMul(n, n0)", "Relu(n)"
    ),
    "gemm": "g (float[N, 8] x, float[8, 8] w, float[8] v) => (float[N, 8] y) { [up] a = Gemm<transB = 1>(x, w, v) y = Tanh(a) }",
    "convolution": "g (float[N, 8, 4, 4] x, float[8, 8, 1, 1] w, float[8] v) => (float[N, 8, 4, 4] y) { [up] a = Conv(x, w, v) y = Softsign(a) }",
    "two activations": "g (float[N, 8] x, float[8, 8] w) => (float[N, N] y) <float k = {3e5}> { a = MatMul(x, w) b = Mul(a, k) t = Transpose(b) [up] s = MatMul(a, t) y = Softmax(s) }",
    "an output": "g (float[N, 8] x, float[8, 8] w) => (float[N, 8] y) { [up] y = MatMul(x, w) }",
}


def build(text: str) -> ir.Model:
    return drawn(text, lambda _, shape: (RNG.standard_normal(shape) * 5e4).astype(np.float32))


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


@pytest.mark.parametrize("name", MODELS)
def test_the_same_numbers_with_the_product_in_half_precision(name: str) -> None:
    model = build(MODELS[name])
    rank = len(model.graph.inputs[0].shape or ())
    feed = {"x": RNG.standard_normal((4, 8, 4, 4)[:rank]).astype(np.float32)}
    wanted, typed = run(model, feed), model.clone()
    scaling = ScaleProducts(observe_extremes(model, [feed]))
    assert scaling.apply(typed).modified
    np.testing.assert_allclose(run(typed, feed), wanted, rtol=1e-5, atol=1e-6)
    HalfPrecision(extremes=scaling.extremes).apply(typed)
    types = {node.name: node.inputs[0].dtype for node in typed.graph if node.inputs and node.inputs[0] is not None}
    assert types["up"] == ir.DataType.FLOAT16
    found = answers(typed, [feed])[0]["y"]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, wanted, rtol=0.02, atol=0.02 * float(np.abs(wanted).max()))


def test_what_fits_is_left_alone() -> None:
    model = build(MODELS["an output"])
    model.graph.initializers["w"].const_value = ir.tensor(np.ones((8, 8), np.float32), name="w")
    feed = {"x": np.full((2, 8), 1e3, np.float32)}
    assert not ScaleProducts(observe_extremes(model, [feed])).apply(model).modified


def test_a_quantized_operand_keeps_its_codes_and_its_pair() -> None:
    model = build(
        """g (float[N, 8] x, float[8, 8] w, float[8, 8] v) => (float[N, 8] y, float[N, 8] z) <float k = {3e5}, float s = {10000.0},
            float t = {1000.0}, int8 o = {0}> { a = Mul(x, k) q = QuantizeLinear(a, s, o) d = DequantizeLinear(q, s, o)
            qw = QuantizeLinear(w, t, o) dw = DequantizeLinear(qw, t, o) [up] b = MatMul(d, dw) y = Tanh(b) [too] c = MatMul(d, v) z = Tanh(c) }"""
    )
    feed = {"x": RNG.standard_normal((4, 8)).astype(np.float32)}
    wanted = run(model, feed)
    scaling = ScaleProducts(observe_extremes(model, [feed]))
    assert scaling.apply(model).modified == 2
    np.testing.assert_allclose(run(model, feed), wanted, rtol=1e-5)
    HalfPrecision(extremes=scaling.extremes).apply(model)
    assert not [finding for finding in lint(model) if finding.rule is Rule.PAIR]
    assert all(node.outputs[0].dtype == ir.DataType.FLOAT16 for node in model.graph if node.name in ("up", "too"))
    assert np.isfinite(answers(model, [feed])[0]["y"]).all()


VANISHING = """g (float[2,16] x, float[16,16] w) => (float[2,16] y) { y = MatMul(x, w) }"""


@pytest.mark.parametrize(("weights", "reach"), [(1e-6, 1e3), (1e-7, 1e5), (3e-6, 1e-3)])
def test_a_weight_that_vanishes_is_scaled_up_and_its_result_down(weights: float, reach: float) -> None:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + VANISHING)
    rng = np.random.default_rng(0)
    w = model.graph.inputs.pop()
    w.const_value = ir.tensor((weights * rng.standard_normal((16, 16))).astype(np.float32), name="w")
    model.graph.register_initializer(w)
    x = (reach * rng.standard_normal((2, 16))).astype(np.float32)
    wanted = x @ w.const_value.numpy()
    InferShapes().apply(model)
    extremes = observe_extremes(model, [{"x": x}])
    assert ScaleProducts(extremes).apply(model).modified == 1
    product = next(node for node in model.graph if node.op_type == "MatMul")
    assert product.inputs[1] is not None and product.inputs[1].const_value is not None
    assert 0.1 < float(np.abs(product.inputs[1].const_value.numpy()).max()) <= 1.0 or reach > 1e4
    (found,) = answers(model, [{"x": x}])
    assert np.allclose(found["y"], wanted, rtol=1e-5)


@pytest.mark.parametrize("quantized", [False, True])
def test_data_that_vanishes_is_scaled_up_with_its_codes(quantized: bool) -> None:
    """Brain waves in volts: 1e-5, whose scale FP16 does not hold, and of whose digits it holds half."""
    pair = "q = QuantizeLinear(x, s, o) d = DequantizeLinear(q, s, o)" if quantized else "d = Identity(x)"
    model = build(
        f"""g (float[N, 8] x, float[8, 8] w) => (float[N, 8] y) <float s = {{1e-7}}, int8 o = {{0}}> {{
            {pair} [up] a = MatMul(d, w) y = Tanh(a) }}"""
    )
    feed = {"x": (RNG.standard_normal((4, 8)) * 3e-6).astype(np.float32)}
    wanted = run(model, feed)
    scaling = ScaleProducts(observe_extremes(model, [feed]))
    assert scaling.apply(model).modified == 1
    HalfPrecision(extremes=scaling.extremes).apply(model)
    types = {node.name: node.outputs[0].dtype for node in model.graph}
    assert types["up"] == ir.DataType.FLOAT16
    found = answers(model, [feed])[0]["y"]
    np.testing.assert_allclose(found, wanted, rtol=0.01, atol=0.005 * float(np.abs(wanted).max()))
