"""2:4 pruning: the pattern, the best choice of weights, and which weights are left alone."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from graphs.reading.two_four import is_two_four
from graphs.writing.node_names import name_nodes
from optimizer.sparsity.magnitude import PruneTwoFour
from optimizer.sparsity.pattern import prune_two_four

FOURS = st.sampled_from([4, 8, 12])


@settings(max_examples=100)
@given(st.data(), st.integers(0, 2), st.sampled_from([np.float32, np.float16]))
def test_pruning_keeps_the_two_largest_of_every_four(data: st.DataObject, axis: int, dtype: type) -> None:
    shape = [data.draw(st.integers(1, 3)) for _ in range(3)]
    shape[axis] = data.draw(FOURS)
    elements = st.floats(-100, 100, width=16)
    weight = data.draw(arrays(dtype, tuple(shape), elements=elements))
    pruned = prune_two_four(weight, axis)
    assert pruned.shape == weight.shape and pruned.dtype == weight.dtype
    assert is_two_four(pruned, axis)
    assert np.all((pruned == weight) | (pruned == 0))
    by_hand = np.sort(np.abs(np.moveaxis(weight, axis, -1).reshape(-1, 4)), axis=-1)[:, 2:]
    kept = np.sort(np.abs(np.moveaxis(pruned, axis, -1).reshape(-1, 4)), axis=-1)[:, 2:]
    np.testing.assert_array_equal(kept, by_hand)
    np.testing.assert_array_equal(prune_two_four(pruned, axis), pruned)


def test_pattern_check_looks_along_the_axis() -> None:
    weight = np.zeros((4, 4), np.float32)
    weight[:, :2] = 1
    assert is_two_four(weight, 1)
    assert not is_two_four(weight, 0)
    assert not is_two_four(np.zeros((4, 6), np.float32), 1)


def model(text: str, **shapes: tuple[int, ...]) -> ir.Model:
    parsed = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    for value in [value for value in parsed.graph.inputs if value.name in shapes]:
        array = np.random.default_rng(0).standard_normal(shapes[str(value.name)]).astype(np.float32)
        value.const_value = ir.tensor(array, name=value.name)
        parsed.graph.inputs.remove(value)
        parsed.graph.register_initializer(value)
    name_nodes(parsed)
    return parsed


def weight_of(parsed: ir.Model, name: str) -> np.ndarray:
    tensor = parsed.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


@pytest.mark.parametrize(
    ("op", "shape", "axis"),
    [
        ("Conv", (16, 32, 3, 3), 1),
        ("Gemm<transB = 1>", (16, 32), 1),
        ("Gemm", (32, 16), 0),
        ("MatMul", (32, 16), 0),
        ("MatMul", (2, 32, 16), 1),
    ],
)
def test_each_operator_is_pruned_along_its_input_channels(op: str, shape: tuple[int, ...], axis: int) -> None:
    first = (32, 3, 1, 1) if op == "Conv" else (32, 32)
    head = "a = Conv(x, f)" if op == "Conv" else "a = MatMul(x, f)"
    text = f"g (float{'[N, 3, 8, 8]' if op == 'Conv' else '[N, 32]'} x, float{list(first)} f, float{list(shape)} w) => (float[A] y)"
    parsed = model(f"{text} {{ {head} b = Relu(a) [it] y = {op}(b, w) }}", f=first, w=shape)
    dense = weight_of(parsed, "w")
    result = PruneTwoFour().apply(parsed)
    assert result.modified == 1
    assert "it: 2:4 along the input channels" in result.notes
    np.testing.assert_array_equal(weight_of(parsed, "w"), prune_two_four(dense, axis))
    assert np.all(weight_of(parsed, "f")), "the first layer stays dense"


@pytest.mark.parametrize(
    ("call", "shape", "why"),
    [
        ("Conv<group = 2>(a, w)", (16, 8, 1, 1), "grouped"),
        ("Conv(a, w)", (8, 16, 1, 1), "fill no sparse tile"),
        ("Conv(x, w)", (16, 16, 1, 1), "first layer"),
        ("Mul(a, a) y = Conv(x, x)", (1,), "no constant weight"),
    ],
)
def test_what_stays_dense_says_why(call: str, shape: tuple[int, ...], why: str) -> None:
    text = f"""g (float[N, 16, 8, 8] x, float[16, 16, 1, 1] f, float{list(shape)} w) => (float[A] y) {{
        a = Conv(x, f) {"z" if call.startswith("Mul") else "y"} = {call} }}"""
    result = PruneTwoFour().apply(model(text, f=(16, 16, 1, 1), w=shape))
    assert result.modified == 0
    assert any(why in note for note in result.notes)


def test_channels_that_are_no_multiple_of_four_stay_dense() -> None:
    text = "g (float[N, 18] x, float[18, 18] f, float[18, 16] w) => (float[A] y) { a = MatMul(x, f) y = MatMul(a, w) }"
    result = PruneTwoFour().apply(model(text, f=(18, 18), w=(18, 16)))
    assert any("18 input channels are no multiple of 4" in note for note in result.notes)


def test_a_weight_read_two_ways_stays_dense_and_one_read_alike_is_pruned_once() -> None:
    head = "g (float[N, 16] x, float[16, 16] f, float[16, 16] w) => (float[A] y) { a = MatMul(x, f)"
    shapes = {"f": (16, 16), "w": (16, 16)}
    two_ways = model(f"{head} b = MatMul(a, w) y = Gemm<transB = 1>(b, w) }}", **shapes)
    assert PruneTwoFour().apply(two_ways).modified == 0
    alike = model(f"{head} b = MatMul(a, w) y = MatMul(b, w) }}", **shapes)
    assert PruneTwoFour().apply(alike).modified == 2
    assert sorted(alike.graph.initializers) == ["f", "w"]
    assert is_two_four(weight_of(alike, "w"), 0)
