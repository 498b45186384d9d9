"""Every rule on the operator it is about: the same numbers, in the form that opset 17 knows."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.reading.constants import constant_array
from graphs.tensorrt.lint import Rule
from optimizer.precision import Dtype
from optimizer.tensorrt8.lowering import lowered_as_far_as_possible
from tests.optimizer.tensorrt8.lowering import lowered, model_of, node_of, normal, operators, refusals, same

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("axes", ["{1, -1}", "{0}"])
def test_axes_of_a_reduction_are_an_attribute_again(kind: str, axes: str) -> None:
    count = axes.count(",") + 1
    text = f"g (float[N, 3, 4] x) => (float[A, B, C] y) <int64[{count}] axes = {axes}> {{ y = Reduce{kind}(x, axes) }}"
    found = same(text, {"x": np.abs(normal(2, 3, 4)) + 0.1})
    node = node_of(found.model, f"Reduce{kind}")
    assert len(node.inputs) == (2 if kind == "Sum" else 1)


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_no_axes_are_all_axes(kind: str) -> None:
    """The parser would reduce none where they are given and empty."""
    text = f"g (float[N, 3] x) => (float[A, B] y) <int64[0] axes = {{}}> {{ y = Reduce{kind}(x, axes) }}"
    same(text, {"x": np.abs(normal(2, 3)) + 0.1})


@pytest.mark.parametrize("kind", ["Max", "Mean", "Min", "Prod", "Sum"])
def test_a_reduction_of_nothing_keeps_the_tensor(kind: str) -> None:
    text = f"g (float[N, 3] x) => (float[N, 3] y) {{ y = Reduce{kind}<noop_with_empty_axes = 1>(x) }}"
    same(text, {"x": normal(2, 3)}, gone=[f"Reduce{kind}"])


def test_computed_axes_are_refused_by_name() -> None:
    text = "g (float[2, 3] x, int64[1] axes) => (float[A, B] y) { [mean] y = ReduceMean(x, axes) }"
    assert refusals(text) == [(Rule.MISREAD, "mean")]


def test_the_extremes_of_truth_values() -> None:
    text = "g (float[2, 3] x) => (bool[2, 1] y) <int64[1] axes = {1}, float zero = {0}> { b = Greater(x, zero) y = ReduceMax(b, axes) }"
    same(text, {"x": normal(2, 3)})


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [", b", ""])
def test_layer_norm_is_written_out(axis: int, bias: str) -> None:
    text = f"g (float[N, 3, 4] x) => (float[N, 3, 4] y) <float[4] s = {{1, 2, 0.5, 1}}, float[4] b = {{1, -1, 0, 0.5}}> {{ [norm] y = LayerNormalization<axis = {axis}, epsilon = 0.001>(x, s{bias}) }}"
    found = same(text, {"x": normal(2, 3, 4)}, gone=["LayerNormalization"])
    assert "norm" in {node.name for node in found.model.graph}
    assert set(found.precisions.values()) == {Dtype.FP32}


def test_layer_norm_with_its_statistics() -> None:
    text = "g (float[2, 4] x) => (float[2, 4] y, float[2, 1] m, float[2, 1] i) <float[4] s = {1, 2, 0.5, 1}> { y, m, i = LayerNormalization(x, s) }"
    same(text, {"x": normal(2, 4)}, gone=["LayerNormalization"])


@pytest.mark.parametrize("shape", ["N, 4, H", "N, 4, 3, 2", "2, 4, 2, 2, 2"])
def test_group_and_instance_norm_are_written_out(shape: str) -> None:
    sizes = tuple(int(size) if size.strip().isdigit() else 5 for size in shape.split(","))
    constants = "<float[4] s = {1, 2, 0.5, 1}, float[4] b = {1, -1, 0, 0.5}>"
    for op in ("GroupNormalization<num_groups = 2>", "InstanceNormalization<epsilon = 0.01>"):
        same(
            f"g (float[{shape}] x) => (float[{shape}] y) {constants} {{ y = {op}(x, s, b) }}",
            {"x": normal(*sizes)},
            gone=[op.split("<")[0]],
        )


@pytest.mark.parametrize(
    "op", ["Gelu", 'Gelu<approximate = "tanh">', "Mish", "Hardmax<axis = 1>", "Selu", "Selu<alpha = 2.0>"]
)
def test_activations(op: str) -> None:
    gone = [] if op.startswith("Selu") else [op.split("<")[0]]
    same(f"g (float[2, 5] x) => (float[2, 5] y) {{ y = {op}(x) }}", {"x": normal(2, 5)}, gone=gone)


@pytest.mark.parametrize(
    "signs", ["", "<detect_negative = 0>", "<detect_positive = 0>", "<detect_positive = 0, detect_negative = 0>"]
)
def test_is_inf(signs: str) -> None:
    x = np.array([1, np.inf, -np.inf, np.nan, 0], np.float32)
    same(f"g (float[5] x) => (bool[5] y) {{ y = IsInf{signs}(x) }}", {"x": x}, gone=["IsInf"])


def test_an_integer_exponent_becomes_a_float() -> None:
    text = "g (float[2] x) => (float[2] y) <int64 two = {2}> { y = Pow(x, two) }"
    same(text, {"x": normal(2)})


def test_integers_through_float_operators() -> None:
    x = np.array([-3, 0, 7], np.int64)
    same("g (int64[3] x) => (int64[3] y) { y = Sign(x) }", {"x": x})
    same("g (int32[3] x) => (int32[3] y) { y = Relu(x) }", {"x": x.astype(np.int32)}, gone=["Relu"])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("attributes", ["axis = 1, keepdims = 0", "axis = -1, select_last_index = 1", "axis = 0"])
def test_the_place_of_an_extreme_integer(op: str, attributes: str) -> None:
    """Of numbers, too, that floats do not tell apart."""
    x = np.array([[1, 1 << 30, (1 << 30) + 1, (1 << 30) + 1], [-7, -7, 3, -(1 << 30)]], np.int32)
    same(
        f"g (int32[2, 4] x) => (int64[...] y) {{ y = {op}<{attributes}>(x) }}".replace(
            "[...]", "[A, B]" if "keepdims" not in attributes else "[A]"
        ),
        {"x": x},
    )


@pytest.mark.parametrize("equation", ["...ij,...jk->...ik", "...ij, ...jk", "...ij,jk->i...k"])
def test_an_ellipsis_gets_letters(equation: str) -> None:
    b = (4, 5) if ",jk" in equation else (2, 4, 5)
    text = f'g (float[2, 3, 4] a, float[{", ".join(map(str, b))}] b) => (float[P, Q, R] y) {{ y = Einsum<equation = "{equation}">(a, b) }}'
    same(text, {"a": normal(2, 3, 4), "b": normal(*b, seed=1)})


def test_cast_like_is_a_cast() -> None:
    text = "g (float[3] x, int32[1] like) => (int32[3] y) { y = CastLike(x, like) }"
    same(text, {"x": normal(3) * 5, "like": np.zeros(1, np.int32)}, gone=["CastLike"])


@pytest.mark.parametrize(("size", "feed"), [("7", 7), ("6", 6), ("N", 7), ("N", 6)])
@pytest.mark.parametrize("axis", [1, -1])
def test_equal_parts_have_sizes_where_the_last_is_smaller(size: str, feed: int, axis: int) -> None:
    text = f"g (float[2, {size}] x) => (float[2, A] p, float[2, B] q, float[2, C] r) {{ p, q, r = Split<axis = {axis}, num_outputs = 3>(x) }}"
    same(text, {"x": normal(2, feed)})


def test_pads_of_some_axes_are_written_for_all() -> None:
    text = "g (float[2, N, 4] x) => (float[2, M, K] y) <int64[4] pads = {1, 0, 2, 3}, float v = {0.5}, int64[2] axes = {-1, 1}> { y = Pad(x, pads, v, axes) }"
    found = same(text, {"x": normal(2, 3, 4)})
    pads = constant_array(node_of(found.model, "Pad").inputs[1])
    assert pads is not None and pads.tolist() == [0, 0, 1, 0, 3, 2]


def test_negative_pads_are_cut_off_first() -> None:
    text = "g (float[2, N] x) => (float[2, M] y) <int64[4] pads = {0, -1, 0, 2}> { y = Pad(x, pads) }"
    same(text, {"x": normal(2, 5)})


def test_what_pads_8_does_not_know_is_refused() -> None:
    text = (
        'g (float[2, 3] x) => (float[2, 5] y) <int64[4] pads = {0, 1, 0, 1}> { [pad] y = Pad<mode = "wrap">(x, pads) }'
    )
    assert refusals(text) == [(Rule.OPERATOR, "pad")]


@pytest.mark.parametrize("part", ["start = 1", "end = -1", "start = -2, end = 3", "start = 0"])
def test_a_part_of_a_shape(part: str) -> None:
    same(f"g (float[N, 3, M] x) => (int64[A] y) {{ y = Shape<{part}>(x) }}", {"x": normal(2, 3, 4)})


@pytest.mark.parametrize("sizes", ["x, , scales", "x, , , sizes"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_resize_of_some_axes(sizes: str, mode: str) -> None:
    text = f'g (float[N, 3, H, 4] x) => (float[N, 3, A, B] y) <float[2] scales = {{2.0, 1.5}}, int64[2] sizes = {{6, 10}}> {{ y = Resize<mode = "{mode}", axes = [3, 2]>({sizes}) }}'
    same(text, {"x": normal(2, 3, 5, 4)})


@pytest.mark.parametrize(
    "attribute",
    [
        "antialias = 1",
        'keep_aspect_ratio_policy = "not_larger"',
        'coordinate_transformation_mode = "half_pixel_symmetric"',
    ],
)
def test_a_resize_that_8_does_not_know_is_refused(attribute: str) -> None:
    text = f'g (float[1, 3, 4, 4] x) => (float[1, 3, A, B] y) <int64[4] sizes = {{1, 3, 6, 5}}> {{ [big] y = Resize<mode = "linear", {attribute}>(x, , , sizes) }}'
    assert {where for _, where in refusals(text)} == {"big"}


def test_grid_sample_in_old_words() -> None:
    text = 'g (float[1, 2, 4, 4] x, float[1, 3, 3, 2] grid) => (float[1, 2, 3, 3] y) { y = GridSample<mode = "linear">(x, grid) }'
    same(text, {"x": normal(1, 2, 4, 4), "grid": np.tanh(normal(1, 3, 3, 2))})


def test_scatter_with_a_reduction_is_refused() -> None:
    text = 'g (float[3] x, int64[1, 1] i, float[1] u) => (float[3] y) { [s] y = ScatterND<reduction = "REDUCTION">(x, i, u) }'
    assert refusals(text.replace("REDUCTION", "max")) == [(Rule.MISREAD, "s")]
    assert refusals(text.replace("REDUCTION", "none")) == []


def test_triangles_of_many_axes() -> None:
    same("g (float[2, N, 4, 5] x) => (float[2, N, 4, 5] y) { y = Trilu<upper = 0>(x) }", {"x": normal(2, 3, 4, 5)})


def test_constants_of_numbers_are_tensors() -> None:
    """Of value_int the parser copies the bits of a float."""
    found = same(
        "g (int64[2] x) => (int64[2] y) { c = Constant<value_int = 3>() y = Add(x, c) }", {"x": np.array([1, 2])}
    )
    assert all(set(node.attributes) == {"value"} for node in found.model.graph if node.op_type == "Constant")


def test_a_convolution_says_its_kernel() -> None:
    text = "g (float[1, 1, N] x, float[2] b) => (float[1, 2, M] y) <float[2, 1, 3] w = {1, 2, 3, 4, 5, 6}> { [conv] y = Conv<strides = [2]>(x, w, b) }"
    found = same(text, {"x": normal(1, 1, 9), "b": normal(2)})
    conv = node_of(found.model, "Conv")
    assert list(conv.attributes.get_ints("kernel_shape", ())) == [3]
    assert len(conv.inputs) == 2 and operators(found.model)["Add"] == 1, "the parser takes constant biases only"


@pytest.mark.parametrize(
    ("text", "rule", "where"),
    [
        ("g (float[2, 2] x) => (float y) { [d] y = Det(x) }", Rule.OPERATOR, "d"),
        ("g (int64[4] x) => (int64[2] y, int64[2] i) <int64[1] k = {2}> { [t] y, i = TopK(x, k) }", Rule.DTYPE, "t"),
        ("g (float[4] x, int64[1] k) => (float[A] y, int64[A] i) { [t] y, i = TopK(x, k) }", Rule.NOT_CONSTANT, "t"),
        ("g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y, int64[1, 1, 2, 2] i) { [p] y, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) }", Rule.OPERATOR, "p"),
        ("g (float[1, 1, 9, 9] x) => (float[1, 1, 5, 5] y) { [p] y = AveragePool<kernel_shape = [3, 3], dilations = [2, 2]>(x) }", Rule.MISREAD, "p"),
        ("g (int64[2] x) => (int64[2] y) <int64[1] c = {4611686018427387904}> { [a] y = Add(x, c) }", Rule.MISREAD, "a"),
        ("g (float[2] x) => (uint8[2] y) { [c] u = Cast<to = 2>(x) [a] y = Add(u, u) }", Rule.DTYPE, "c"),
        ("g (bfloat16[2] x) => (bfloat16[2] y) { [a] y = Add(x, x) }", Rule.DTYPE, ""),
        ('g (float[2, 3, 4] a, float[1, 4, 5] b) => (float[2, 3, 5] y) { [e] y = Einsum<equation = "...ij,...jk->...ik">(a, b) }', Rule.OPERATOR, "e"),
    ],
)  # fmt: skip
def test_what_8_lacks_is_named(text: str, rule: Rule, where: str) -> None:
    assert (rule, where) in refusals(text)


def test_bounds_beyond_int32_mean_what_they_meant() -> None:
    text = (
        "g (float[N] x) => (float[M] y) <int64[1] s = {1}, int64[1] e = {9223372036854775807}> { y = Slice(x, s, e) }"
    )
    same(text, {"x": normal(5)})


def test_rules_reach_into_bodies() -> None:
    text = """g (float[2, 3] x, bool c) => (float[2, 1] y) <int64[1] axes = {1}> {
        y = If (c) <then_branch = t () => (float[2, 1] p) { p = ReduceMean(x, axes) },
                    else_branch = e () => (float[2, 1] q) { q = ReduceMax(x, axes) }>
    }"""
    same(text, {"x": normal(2, 3), "c": np.array(True)})


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_nets_say_their_size(op: str, gates: int) -> None:
    text = f"g (float[3, 2, 4] x, float[1, {5 * gates}, 4] w, float[1, {5 * gates}, 5] r) => (float[3, 1, 2, 5] y) {{ [net] y = {op}(x, w, r) }}"
    found = lowered(text)
    assert node_of(found.model, op).attributes.get_int("hidden_size", 0) == 5 and refusals(text) == []


def test_a_scan_counts_its_axes_from_the_front() -> None:
    """The parser counts negative ones from the eighth axis."""
    text = """g (float[2] s, float[2, 5] x) => (float[2] t, float[2, 5] y) {
        t, y = Scan<num_scan_inputs = 1, scan_input_axes = [-1], scan_output_axes = [-1],
                    body = b (float[2] a, float[2] u) => (float[2] c, float[2] d) { c = Add(a, u) d = Mul(a, u) }>(s, x)
    }"""
    found = same(text, {"s": normal(2), "x": normal(2, 5)})
    assert list(node_of(found.model, "Scan").attributes.get_ints("scan_input_axes", ())) == [1]


def test_a_loop_that_may_end_early_and_gathers_rows_is_refused() -> None:
    """As many rows as the trip count says come out there, computed or not."""
    text = """g (int64 n, bool go, float[2] x) => (float[2] t, float[K, 2] rows) {
        [loop] t, rows = Loop(n, go, x) <body = b (int64 i, bool on, float[2] s) => (bool more, float[2] r, float[2] row)
            { more = MORE row = Identity(s) r = Add(s, s) }>
    }"""
    assert refusals(text.replace("MORE", "Identity(on)")) == []
    assert refusals(text.replace("MORE", "Not(on)")) == [(Rule.MISREAD, "loop")]
    assert refusals(text.replace("MORE", "Identity(on)").replace("Loop(n,", "Loop(,")) == [(Rule.MISREAD, "loop")]


def test_lowering_leaves_the_graph_as_it_was() -> None:
    model = model_of(
        "g (float[N, 4] x) => (float[N, 4] y) <float[4] s = {1, 2, 0.5, 1}> { y = LayerNormalization(x, s) }"
    )
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    lowered_as_far_as_possible(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
