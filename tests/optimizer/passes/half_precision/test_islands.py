"""What stays FP32 in a graph of half precision, and how far."""

# ruff: noqa: E501

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.simulation.extremes import Extremes
from tests.optimizer.passes.half_precision.graphs import BRAIN, FLOAT, HALF, casts, parse, run, type_of


def test_only_what_keep_names_stays() -> None:
    model = parse("g (float[N] x) => (float[N] z) { [a] p = Relu(x) [b] q = Sigmoid(p) [c] r = Neg(q) z = Abs(r) }")
    typing = HalfPrecision(keep={"b": "asked for"})
    typing.apply(model)
    assert typing.kept == {"b": "asked for"}
    assert type_of(model, "Sigmoid") == FLOAT and type_of(model, "Neg") == HALF
    run(model, x=np.ones(3, np.float32))


@pytest.mark.parametrize(("seen", "dtype"), [(1e5, FLOAT), (1000.0, HALF)])
def test_observed_ranges_decide(seen: float, dtype: ir.DataType) -> None:
    model = parse("g (float[N] x) => (float[N] z) { p = Relu(x) q = Exp(p) z = Abs(q) }")
    HalfPrecision(extremes=Extremes({"q": seen})).apply(model)
    assert type_of(model, "Exp") == dtype


@pytest.mark.parametrize(
    ("body", "op", "why"),
    [
        ("p = Clip(a, tiny) z = Div(a, p)", "Div", "divides by"),
        ("p = Add(a, tiny) z = Neg(p)", "Add", "vanishes"),
        ("p = Mul(a, large) z = Neg(p)", "Mul", "overflows"),
        ("p = Pow(a, two) z = Neg(p)", "Pow", "may overflow"),
        ("p = ReduceL2(a) z = Mul(a, p)", "ReduceL2", "squares"),
        ("p = CumSum(a, axis) z = Neg(p)", "CumSum", "squares"),
    ],
)
def test_what_fp16_cannot_hold_is_an_island(body: str, op: str, why: str) -> None:
    model = parse(
        f"""g (float[N] x) => (float[N] z)
        <float tiny = {{1e-9}}, float large = {{100000.0}}, float two = {{2.0}}, int64 axis = {{0}}>
        {{ a = Relu(x) {body} }}"""
    )
    typing = HalfPrecision()
    typing.apply(model)
    assert type_of(model, op) == FLOAT
    assert any(why in reason for reason in typing.kept.values())
    assert type_of(model, "Relu") == HALF
    run(model, x=np.ones(3, np.float32))


def test_arithmetic_on_shapes_stays_exact() -> None:
    model = parse(
        """g (float[N, M] x) => (float[N, M] z, int64[1] k) <int64[1] one = {1}, float[1] half = {0.5}> {
            s = Shape(x) m = Gather(s, one) f = Cast<to = 1>(m) h = Mul(f, half) k = Cast<to = 7>(h) z = Mul(x, h) }"""
    )
    HalfPrecision().apply(model)
    z, k = run(model, x=np.ones((1, 4099), np.float32))
    assert k[0] == 2049, "not representable in FP16"
    assert z[0, 0] == pytest.approx(2049, rel=1e-3)


def test_a_quantizer_of_fp32_data_and_a_dequantizer_for_fp32_readers_are_fp32() -> None:
    model = parse(
        """g (float[N] x) => (float[N] z) <float k = {1000.0}, float s = {10000.0}, int8 o = {0}> {
            [wide] a = Mul(x, k) [q] q = QuantizeLinear(a, s, o) [dq] d = DequantizeLinear(q, s, o) [back] z = Div(d, k) }"""
    )
    typing = HalfPrecision(extremes=Extremes({"a": 1e6}))
    typing.apply(model)
    assert {"wide", "q", "dq", "back"} <= typing.kept.keys()
    assert casts(model) == 0
    np.testing.assert_array_equal(run(model, x=np.array([20, 1000], np.float32))[0], [20, 1000])


def test_sums_of_values_that_lie_apart_stay_fp32() -> None:
    text = "g (float[N, 64, 8] x) => (float[N, M, K] z) <int64[1] axis = {%s}> { a = Neg(x) [sum] s = ReduceSum(a, axis) z = Neg(s) }"
    for axis, dtype in (("-1", HALF), ("1", FLOAT), ("-2", FLOAT)):
        model = parse(text % axis)
        HalfPrecision().apply(model)
        assert type_of(model, "ReduceSum") == dtype


def test_a_scatter_that_sums_stays_fp32() -> None:
    """Messages of a graph network: as many as arrive, and ONNX Runtime runs the reduction in FP32 only."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
        g (float[4,4] x, int64[2,1] i, float[2,4] u) => (float[4,4] y) {
            a = Relu(x)
            [sum] b = ScatterND<reduction="%s">(a, i, u)
            y = Relu(b)
        }"""
    kept = {}
    for reduction in ("add", "none"):
        half = HalfPrecision()
        half.apply(ir.from_onnx_text(text % reduction))
        kept[reduction] = "sum" in half.kept
    assert kept == {"add": True, "none": False}


def test_a_pool_of_squares_stays_fp32() -> None:
    """Three values of 200: their squares sum to 120,000 where FP16 ends at 65,504."""
    model = parse("g (float[1,1,9] x) => (float[1,1,7] y) { [pool] y = LpPool<kernel_shape=[3], p=2>(x) }")
    typing = HalfPrecision()
    typing.apply(model)
    assert "pool" in typing.kept


def test_a_recurrent_net_with_lengths_stays_fp32() -> None:
    text = """g (float[T, N, 4] x, int32[N] lens, float[1, 9, 4] w, float[1, 9, 3] r, float[1, 18] b) => (float[1, N, 3] h) {{
        a = Neg(x) , h = GRU <hidden_size = 3> (a, w, r, b{lens}) }}"""
    for lens, dtype in ((", lens", FLOAT), ("", HALF)):
        model = parse(text.format(lens=lens))
        HalfPrecision().apply(model)
        assert type_of(model, "GRU") == dtype


@pytest.mark.parametrize("dtype", [HALF, BRAIN])
def test_casts_between_an_fp32_node_and_another_type_do_not_round(dtype: ir.DataType) -> None:
    """Thresholds of trees, say: 1.2 must not become 1.2002 on its way from float64 to a node that stays FP32."""
    model = parse(
        """g (double[N] x) => (double[N] y, bool[N] z) <int64 axis = {0}, float bound = {1.2}> {
            [given] a = Cast<to=1>(x) [sum] b = CumSum(a, axis) [back] y = Cast<to=11>(b) [test] z = LessOrEqual(b, bound) }"""
    )
    typing = HalfPrecision(dtype, keep={"sum": "asked for"})
    typing.apply(model)
    assert typing.kept.keys() == {"given", "sum", "back", "test"}
    y, z = run(model, x=np.array([1.2, 2.4], np.float64))
    np.testing.assert_allclose(y, [1.2, 3.6], rtol=1e-6)
    assert z.tolist() == [True, False]


def test_what_becomes_an_integer_stays_fp32_from_the_last_product_on() -> None:
    """Codes of a quantization that is written out: 200.498 is 200.5 in FP16, and another code."""
    model = parse(
        """g (float[N, 2] x, float[2, 2] w) => (uint8[N, 2] y) <float zero = {0.0}, float top = {255.0}, float z = {3.0}> {
            [fc] h = MatMul(x, w) [scaled] a = Relu(h) [round] r = Round(a) [shift] s = Add(r, z)
            [clip] c = Clip(s, zero, top) y = Cast<to=2>(c) }"""
    )
    typing = HalfPrecision()
    typing.apply(model)
    assert {"scaled", "round", "shift", "clip"} <= typing.kept.keys() and "fc" not in typing.kept
    model = parse(
        """g (float[N] x) => (uint8[N] y) <float k = {255.0}, uint8 z = {0}> {
            [top] a = ReduceMax<keepdims = 0>(x) [scale] s = Div(a, k) [q] y = QuantizeLinear(x, s, z) }"""
    )
    typing.apply(model)
    assert typing.kept.keys() == {"top", "scale", "q"}
    model = parse("g (float[N] x) => (int64[N] y) { [whole] y = Cast<to=7>(x) }")
    typing.apply(model)
    assert typing.kept.keys() == {"whole"} and run(model, x=np.array([2.9999], np.float32))[0].tolist() == [2]
    model = parse("g (float[N] x) => (float[N] y) { [a] a = Relu(x) [round] r = Round(a) y = Neg(r) }")
    typing.apply(model)
    assert not typing.kept
