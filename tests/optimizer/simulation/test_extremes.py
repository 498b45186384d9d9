"""Extremes of every activation: fills and infinities are no numbers, steps inside an operator are seen."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.writing.node_names import name_nodes
from optimizer.passes.infer_shapes import InferShapes
from optimizer.simulation.extremes import Extremes, observe_extremes


def observe(text: str, *feeds: dict[str, np.ndarray]) -> Extremes:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    name_nodes(model)
    InferShapes().apply(model)
    return observe_extremes(model, feeds)


def test_every_activation_and_the_largest_over_all_feeds() -> None:
    text = "g (float[N] x) => (float[N] y) <float k = {-300.0}> { a = Mul(x, k) b = Mul(a, k) y = Sqrt(b) }"
    found = observe(text, {"x": np.array([1.0, 2.0], np.float32)}, {"x": np.array([0.0, 0.5, 1e-9], np.float32)})
    assert found.largest == pytest.approx({"x": 2, "a": 600, "b": 1.8e5, "y": 424.26}, rel=1e-4)
    assert found.least == pytest.approx({"b": 9e-5}, rel=1e-4)
    assert found.feeds == 2


def test_squares_inside_a_layer_norm_are_seen() -> None:
    text = "g (float[N, 4] x, float[4] s) => (float[N, 4] y) { [norm] y = LayerNormalization(x, s) }"
    found = observe(text, {"x": np.array([[400, -400, 400, -400]], np.float32), "s": np.ones(4, np.float32)})
    assert found.within["norm"] == pytest.approx(640000)
    assert found.largest["y"] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("fill", [-1e6, -1e9, -3.4028235e38, -np.inf])
def test_masks_are_no_numbers(fill: float) -> None:
    text = "g (float[N] s, bool[N] m, float f) => (float[N] p) { w = Where(m, s, f) p = Softmax(w) }"
    feed = {"s": np.array([7, 8, 9], np.float32), "m": np.array([True, False, True]), "f": np.array(fill, np.float32)}
    found = observe(text, feed)
    assert found.largest["w"] == 9 and ("w" in found.fills or np.isinf(fill))


@pytest.mark.parametrize(
    ("read", "hides"),
    [
        ("p = Softmax(w)", True),
        ("e = Unsqueeze(w, axis) d = Div(e, k) u = Add(d, k) p = Softmax(u)", True),
        ("p = Identity(w)", False),
        ("q = Softmax(w) u = Add(w, k) p = Mul(u, q)", False),
        ("p = MatMul(w, s)", False),
    ],
)
def test_what_arithmetic_or_a_user_reads_is_a_number(read: str, hides: bool) -> None:
    """A masked logit that is given out, or a pressure in pascals beside fractions."""
    text = f"""g (float[N] s, bool[N] m) => (p) <float f = {{-1e6}}, float k = {{2}}, int64[1] axis = {{0}}> {{
        w = Where(m, s, f) {read} }}"""
    found = observe(text, {"s": np.array([7, 8, 9], np.float32), "m": np.array([True, False, True])})
    assert ("w" in found.fills) == hides and found.largest["w"] == (9 if hides else 1e6)


def test_a_sum_that_is_always_large_is_no_fill() -> None:
    text = "g (float[N, M] x) => (float[N] y) <int64[1] last = {-1}> { y = ReduceSum<keepdims = 0>(x, last) }"
    found = observe(text, {"x": np.full((4, 500), 200.0, np.float32)})
    assert found.largest["y"] == 1e5 and not found.fills


def test_digits_of_small_operands_matter_to_roots_and_divisions_not_to_squares() -> None:
    text = "g (float[N] x) => (float[N] y, float[N] z) <float two = {2.0}> { y = Pow(x, two) z = Reciprocal(x) }"
    found = observe(text, {"x": np.array([1e-7, 3], np.float32)})
    assert found.least == pytest.approx({"x": 1e-7})
    squares = "g (float[N] x) => (float[N] y) <float two = {2.0}> { y = Pow(x, two) }"
    assert not observe(squares, {"x": np.array([1e-7, 3], np.float32)}).least


def test_large_numbers_are() -> None:
    text = "g (float[N] x) => (float[N] y) <float k = {1e-5}> { q = Mul(x, x) y = Mul(q, k) }"
    assert observe(text, {"x": np.array([1e3, 1e4, 1e5, 2e5], np.float32)}).largest["q"] == pytest.approx(4e10)


def test_outputs_left_out_are_passed_over() -> None:
    text = """g (float[S, 1, 2] x, float[1, 9, 2] w, float[1, 9, 3] r) => (float[1, 1, 3] h) {
        , h = GRU<hidden_size = 3>(x, w, r) }"""
    shapes = {"x": (4, 1, 2), "w": (1, 9, 2), "r": (1, 9, 3)}
    found = observe(text, {name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    assert 0 < found.largest["h"] <= 1


def test_nan_infinity_and_empty_tensors_end_nothing() -> None:
    text = "g (float[N] x) => (float[N] y) { l = Log(x) y = Sqrt(l) }"
    found = observe(text, {"x": np.array([0.0, -1.0, 2.0], np.float32)}, {"x": np.zeros(0, np.float32)})
    assert found.largest["l"] == pytest.approx(np.log(2), rel=1e-5)
