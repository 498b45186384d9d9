"""Operators on codes give what their spelt-out form gives, to the last code."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.reading.shapes import infer_shapes
from optimizer.equivalence import compare_graphs
from optimizer.passes.dialects.dynamic_operators import FloatProducts
from optimizer.passes.dialects.integer_operators import SpellOutIntegers

HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\n'
ENDS = "<float s = {0.05}, uint8 z = {120}, float s2 = {0.1}, uint8 z2 = {10}"
CONV = f"""g (float[1,2,4,4] x) => (float[1,2,4,4] y) {ENDS}, float[2] ws = {{0.01, 0.03}}, int8[2] wz = {{0, 0}},
int8[2,2,1,1] w = {{10, -20, 100, 127}}, int32[2] b = {{500, -3000}}> {{
    c = QuantizeLinear(x, s, z)
    [product] r = QLinearConv<kernel_shape = [1, 1]>(c, s, z, w, ws, wz, s2, z2, b)
    y = DequantizeLinear(r, s2, z2)
}}"""
MATMUL = f"""g (float[4,2] x) => (float[4,2] y) {ENDS}, float ws = {{0.01}}, uint8 wz = {{100}},
uint8[2,2] w = {{10, 20, 100, 227}}> {{
    c = QuantizeLinear(x, s, z)
    [product] r = QLinearMatMul(c, s, z, w, ws, wz, s2, z2)
    y = DequantizeLinear(r, s2, z2)
}}"""
GEMM = f"""g (float[4,2] x) => (float[4,2] y) {ENDS}, float[2] ws = {{0.01, 0.03}}, int8[2] wz = {{0, 0}},
int8[2,2] w = {{10, -20, 100, 127}}, int32[2] b = {{500, -3000}}> {{
    c = QuantizeLinear(x, s, z)
    [product] r = com.microsoft.QGemm<alpha = 1.0, transB = 1>(c, s, z, w, ws, wz, b, s2, z2)
    y = DequantizeLinear(r, s2, z2)
}}"""
FLOAT_GEMM = (
    GEMM.replace(", b, s2, z2)", ", b)")
    .replace("    y = DequantizeLinear(r, s2, z2)\n", "")
    .replace("[product] r", "[product] y")
)


def _of_one(op: str, attributes: str = "") -> str:
    return f"""g (float[1,2,4,4] x) => (float[N,C,H,W] y) {ENDS}> {{
    c = QuantizeLinear(x, s, z)
    [product] r = com.microsoft.{op}{attributes}(c, s, z, s2, z2)
    y = DequantizeLinear(r, s2, z2)
}}"""


def _of_two(op: str) -> str:
    return f"""g (float[1,2,4,4] x) => (float[1,2,4,4] y) {ENDS}> {{
    c = QuantizeLinear(x, s, z)
    d = QuantizeLinear(x, s2, z2)
    [product] r = com.microsoft.{op}(c, s, z, d, s2, z2, s, z)
    y = DequantizeLinear(r, s, z)
}}"""


CONCAT = f"""g (float[1,2,4,4] x) => (float[1,4,4,4] y) {ENDS}> {{
    c = QuantizeLinear(x, s, z)
    d = QuantizeLinear(x, s2, z2)
    [product] r = com.microsoft.QLinearConcat<axis = 1>(s2, z2, c, s, z, d, s2, z2)
    y = DequantizeLinear(r, s2, z2)
}}"""
CASES = {
    "Conv": CONV,
    "MatMul": MATMUL,
    "Gemm": GEMM,
    "Gemm with a float result": FLOAT_GEMM,
    "Add": _of_two("QLinearAdd"),
    "Mul": _of_two("QLinearMul"),
    "Sigmoid": _of_one("QLinearSigmoid"),
    "LeakyRelu": _of_one("QLinearLeakyRelu", "<alpha = 0.1>"),
    "GlobalAveragePool": _of_one("QLinearGlobalAveragePool"),
    "AveragePool": _of_one("QLinearAveragePool", "<kernel_shape = [2, 2]>"),
    "Concat": CONCAT,
}


def _feeds(shape: tuple[int, ...]) -> list[dict[str, np.ndarray]]:
    return [{"x": (3 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)}]


@pytest.mark.parametrize("name", CASES)
def test_the_spelt_out_form_gives_the_same_codes(name: str) -> None:
    given, model = ir.from_onnx_text(HEAD + CASES[name]), ir.from_onnx_text(HEAD + CASES[name])
    assert SpellOutIntegers().apply(model).modified == 1
    assert not any(node.domain or node.op_type.startswith("QLinear") for node in model.graph)
    assert name.split()[0] in [node.op_type for node in model.graph if node.name == "product"]
    shape = tuple(given.graph.inputs[0].shape.numpy())
    found = compare_graphs(given, model, _feeds(shape), fuse_qdq=False)
    step = 0.1
    assert found.max_abs <= 1.01 * step, found  # a tie may fall to the next code
    assert found.sqnr_db > 30


def test_a_scale_that_is_computed_stays() -> None:
    text = MATMUL.replace("(float[4,2] x)", "(float[4,2] x, float t)").replace("w, ws, wz, s2", "w, ws, wz, t")
    model = ir.from_onnx_text(HEAD + text)
    assert SpellOutIntegers().apply(model).modified == 0


DYNAMIC = """g (float[4,3] x) => (float[4,2] y)
<float ws = {0.02}, uint8 wz = {7}, uint8[3,2] w = {1, 200, 30, 7, 0, 99}> {
    c, s, z = DynamicQuantizeLinear(x)
    [product] i = MatMulInteger(c, w, z, wz)
    f = Cast<to = 1>(i)
    m = Mul(s, ws)
    y = Mul(f, m)
}"""


def test_a_dynamic_product_keeps_its_weight_and_its_name() -> None:
    given, model = ir.from_onnx_text(HEAD + DYNAMIC), ir.from_onnx_text(HEAD + DYNAMIC)
    assert FloatProducts().apply(model).modified == 1
    assert [node.op_type for node in model.graph] == ["MatMul"]
    weight = model.graph[0].inputs[1]
    assert weight is not None and weight.const_value is not None
    codes = np.array([[1, 200], [30, 7], [0, 99]], np.float64)
    assert np.allclose(weight.const_value.numpy(), (codes - 7) * 0.02)
    found = compare_graphs(given, model, _feeds((4, 3)))
    assert 25 < found.sqnr_db < 80, found  # the rounding of the data is gone


def test_a_product_that_is_scaled_by_something_else_stays() -> None:
    text = DYNAMIC.replace("m = Mul(s, ws)", "m = Mul(ws, ws)")
    model = ir.from_onnx_text(HEAD + text)
    assert FloatProducts().apply(model).modified == 0


SOFTMAX = _of_one("QLinearSoftmax", "<axis = 1, opset = 11>")


@pytest.mark.parametrize(("change", "spelt"), [(("", ""), 0), (("opset = 11", "opset = 13"), 1), (("= 1,", "= 3,"), 1)])
def test_a_softmax_over_several_axes_as_before_opset_13_stays(change: tuple[str, str], spelt: int) -> None:
    text = HEAD + SOFTMAX.replace(*change)
    given, model = ir.from_onnx_text(text), ir.from_onnx_text(text)
    infer_shapes(model)
    assert SpellOutIntegers().apply(model).modified == spelt
    assert compare_graphs(given, model, _feeds((1, 2, 4, 4)), fuse_qdq=False).max_abs <= 0.101
