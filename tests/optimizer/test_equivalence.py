"""Two graphs, the same or not: floats up to the rounding of their type, everything else exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from engines.errors import EngineError
from optimizer.equivalence import Answers, compare_graphs

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
FEEDS = [{"x": X}, {"x": X[::-1].copy()}]


def graph(body: str, output: str = "float[n, 4] y", inputs: str = "float[n, 4] x") -> bytes:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g ({inputs}) => ({output}) {{ {body} }}'
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def test_another_order_of_sums_is_the_same_and_another_factor_is_not() -> None:
    first = graph("two = Constant<value = float {2.0}>() t = Mul(x, two) y = Add(t, x)")
    same = graph("three = Constant<value = float {3.0}>() y = Mul(x, three)")
    other = graph("three = Constant<value = float {3.001}>() y = Mul(x, three)")
    answers = Answers.of(first, FEEDS)
    assert answers.compare(same).same
    found = answers.compare(other)
    assert not found.same and found.worst == "y" and 65 < found.sqnr_db < 75 and "SQNR" in found.why


def test_models_and_files_are_graphs_too(tmp_path: Path) -> None:
    serialized = graph("y = Relu(x)")
    (tmp_path / "m.onnx").write_bytes(serialized)
    model = ir.from_proto(onnx.load_from_string(serialized))
    assert compare_graphs(tmp_path / "m.onnx", model, FEEDS).same


def test_nan_and_infinity_are_no_difference_where_both_have_them() -> None:
    first = graph("zero = Constant<value = float {0.0}>() t = Mul(x, zero) y = Div(x, t)")
    assert compare_graphs(first, first, FEEDS).same
    finite = graph("y = Identity(x)")
    assert "NaN or infinite" in compare_graphs(finite, first, FEEDS).why


def test_integers_and_booleans_have_to_be_equal() -> None:
    first = graph("y = Cast<to = 7>(x)", "int64[n, 4] y")
    other = graph("r = Round(x) y = Cast<to = 7>(r)", "int64[n, 4] y")
    found = compare_graphs(first, other, FEEDS)
    assert not found.same and "int64" in found.why
    assert compare_graphs(first, first, FEEDS).same


def test_shapes_that_depend_on_data_are_compared_and_may_be_empty() -> None:
    body = "zero = Constant<value = float {0.0}>() m = Greater(x, zero) y = NonZero(m)"
    first, other = graph(body, "int64[2, k] y"), graph(body.replace("Greater", "Less"), "int64[2, k] y")
    uneven = [{"x": np.abs(X)}]
    assert compare_graphs(first, first, uneven).same and not compare_graphs(first, other, uneven).same
    assert compare_graphs(first, first, [{"x": -np.abs(X)}]).same


def test_half_precision_has_its_own_rounding() -> None:
    narrow = "h = Cast<to = 10>(x) t = Cast<to = 10>(x) y = Add(h, t)"
    once = "t = Add(x, x) y = Cast<to = 10>(t)"
    assert compare_graphs(graph(narrow, "float16[n, 4] y"), graph(once, "float16[n, 4] y"), FEEDS).same


def test_noise_around_zero_is_rounding() -> None:
    zero = graph("y = Sub(x, x)")
    noise = graph("e = Constant<value = float {1e-8}>() y = Mul(x, e)")
    assert compare_graphs(zero, noise, FEEDS).same


def test_a_random_output_says_nothing() -> None:
    random = graph("n = RandomNormalLike(x) y = Add(x, n) z = Neg(x)", "float[n, 4] y, float[n, 4] z")
    found = compare_graphs(random, random, FEEDS)
    assert found.same and found.skipped == ("y",)


def test_strings_are_compared() -> None:
    text = graph("y = Cast<to = 8>(x)", "string[n, 4] y")
    other = graph("t = Neg(x) y = Cast<to = 8>(t)", "string[n, 4] y")
    assert compare_graphs(text, text, FEEDS).same and not compare_graphs(text, other, FEEDS).same


def test_a_candidate_that_does_not_run_differs_and_a_reference_raises() -> None:
    good, bad = graph("y = Relu(x)"), graph("s = Constant<value_ints = [7, 7]>() y = Reshape(x, s)", "float[a, b] y")
    assert "does not run" in compare_graphs(good, bad, FEEDS).why
    with pytest.raises(EngineError):
        compare_graphs(bad, good, FEEDS)


def test_another_type_or_a_missing_output_is_named() -> None:
    good, wide = graph("y = Relu(x)"), graph("r = Relu(x) y = Cast<to = 11>(r)", "double[n, 4] y")
    assert "float64 where it was float32" in compare_graphs(good, wide, FEEDS).why
    assert "missing" in compare_graphs(good, graph("z = Relu(x)", "float[n, 4] z"), FEEDS).why
