"""Cleaning: fewer nodes, the same results."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.passes.clean import clean
from optimizer.passes.folding.affine import FoldAffine
from optimizer.passes.folding.batch_norm import FoldBatchNorm
from optimizer.passes.folding.padding import FoldPadding
from tests.optimizer.passes.models import RNG, ops, parse, run, weights


def batch_norm(channels: int) -> dict[str, np.ndarray]:
    return {
        "gamma": weights(channels),
        "beta": weights(channels),
        "mean": weights(channels),
        "var": RNG.uniform(0.1, 2, channels).astype(np.float32),
    }


WEIGHTED = {
    "Conv": ("y = Conv<pads = [1, 1, 1, 1]>(x, w, b)", (6, 4, 3, 3)),
    "Conv without bias": ("y = Conv(x, w)", (6, 4, 3, 3)),
    "grouped Conv": ("y = Conv<group = 2>(x, w, b)", (6, 2, 3, 3)),
    "ConvTranspose": ("y = ConvTranspose(x, w, b)", (4, 6, 2, 2)),
    "grouped ConvTranspose": ("y = ConvTranspose<group = 2>(x, w, b)", (4, 3, 2, 2)),
}


def weighted(name: str, tail: str, **extra: np.ndarray) -> ir.Model:
    call, shape = WEIGHTED[name]
    given = {"w": weights(*shape), "b": weights(6), **extra}
    given = given if "w, b" in call else {key: value for key, value in given.items() if key != "b"}
    inputs = ", ".join(f"float{list(array.shape) if array.shape else ''} {key}" for key, array in given.items())
    return parse(f"g (float[N, 4, 8, 8] x, {inputs}) => (float[N, 6, H, W] z) {{ {call} {tail} }}", **given)


@pytest.mark.parametrize("name", WEIGHTED)
def test_batch_norm_folds_into_what_precedes_it(name: str) -> None:
    model = weighted(name, "z = BatchNormalization<epsilon = 0.01>(y, gamma, beta, mean, var)", **batch_norm(6))
    x = weights(2, 4, 8, 8)
    expected = run(model, x=x)[0]
    assert FoldBatchNorm().apply(model).modified == 1
    assert ops(model) == [name.split()[-1] if "bias" not in name else "Conv"]
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-4, atol=1e-5)
    assert model.graph.outputs[0].name == "z"


@pytest.mark.parametrize("trans_b", [0, 1])
def test_batch_norm_folds_into_gemm_with_beta(trans_b: int) -> None:
    w = weights(6, 4) if trans_b else weights(4, 6)
    model = parse(
        f"""g (float[N, 4] x, float[{w.shape[0]}, {w.shape[1]}] w, float[6] b, float[6] gamma, float[6] beta, float[6] mean,
        float[6] var) => (float[N, 6] z) {{
            y = Gemm<alpha = 0.5, beta = 2.0, transB = {trans_b}>(x, w, b)
            z = BatchNormalization(y, gamma, beta, mean, var)
        }}""",
        w=w,
        b=weights(6),
        **batch_norm(6),
    )
    x = weights(3, 4)
    expected = run(model, x=x)[0]
    clean(model)
    assert ops(model) == ["Gemm"]
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_stays_where_its_input_is_read_twice_or_comes_from_an_add() -> None:
    tail = "t = BatchNormalization(y, gamma, beta, mean, var) z = Add(t, y)"
    assert FoldBatchNorm().apply(weighted("Conv", tail, **batch_norm(6))).modified == 0
    tail = "a = Add(y, y) z = BatchNormalization(a, gamma, beta, mean, var)"
    assert FoldBatchNorm().apply(weighted("Conv", tail, **batch_norm(6))).modified == 0


def test_a_shared_weight_is_folded_into_a_copy() -> None:
    model = parse(
        """g (float[N, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4] gamma, float[4] beta, float[4] mean, float[4] var)
        => (float[N, 4, 8, 8] z) { y = Conv(x, w) n = BatchNormalization(y, gamma, beta, mean, var) z = Conv(n, w) }""",
        w=weights(4, 4, 1, 1),
        **batch_norm(4),
    )
    x = weights(1, 4, 8, 8)
    expected = run(model, x=x)[0]
    clean(model)
    assert ops(model) == ["Conv", "Conv"]
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tail", ["z = Mul(y, s)", "z = Mul(s, y)", "z = Add(y, s)", "z = Sub(y, s)", "z = Div(y, s)"])
@pytest.mark.parametrize("shape", [(), (1,), (6, 1, 1), (1, 6, 1, 1)])
@pytest.mark.parametrize("name", ["Conv", "Conv without bias", "grouped ConvTranspose"])
def test_constants_per_channel_fold(name: str, shape: tuple[int, ...], tail: str) -> None:
    model = weighted(name, tail, s=RNG.uniform(0.5, 2, shape).astype(np.float32))
    x = weights(2, 4, 8, 8)
    expected = run(model, x=x)[0]
    assert FoldAffine().apply(model).modified == 1
    assert len(ops(model)) == 1
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tail", "shape"),
    [
        ("z = Mul(y, s)", (1, 1, 1, 8)),
        ("z = Add(y, s)", (6, 8, 8)),
        ("z = Sub(s, y)", (6, 1, 1)),
        ("z = Div(s, y)", ()),
        ("z = Mul(y, s)", (1, 1, 6, 1, 1)),
    ],
)
def test_what_is_no_affine_map_per_channel_stays(tail: str, shape: tuple[int, ...]) -> None:
    assert FoldAffine().apply(weighted("Conv", tail, s=np.full(shape, 2, np.float32))).modified == 0


PADS = "int64[8] p, float v"


@pytest.mark.parametrize(
    ("pads", "value", "folds"),
    [
        ([0, 0, 1, 2, 0, 0, 3, 0], 0.0, True),
        ([0, 0, 1, 1, 0, 0, 1, 1], 1.0, False),
        ([0, 1, 0, 0, 0, 0, 0, 0], 0.0, False),
        ([0, 0, -1, 0, 0, 0, 0, 0], 0.0, False),
    ],
)
def test_zero_spatial_padding_folds_into_conv(pads: list[int], value: float, folds: bool) -> None:
    channels = 4 + pads[1] + pads[5]
    model = parse(
        f"""g (float[N, 4, 8, 8] x, int64[8] p, float v, float[6, {channels}, 3, 3] w) => (float[N, 6, H, W] z) {{
            y = Pad(x, p, v) z = Conv<pads = [1, 0, 0, 1]>(y, w) }}""",
        p=np.array(pads),
        v=np.array(value, np.float32),
        w=weights(6, channels, 3, 3),
    )
    x = weights(2, 4, 8, 8)
    expected = run(model, x=x)[0]
    assert FoldPadding().apply(model).modified == folds
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-5, atol=1e-6)


def test_shape_arithmetic_and_constants_disappear() -> None:
    model = parse(
        """g (float[2, 3, 4] x) => (float[2, 12] y) {
            s = Shape(x) i = Constant<value_int = 0>() n = Gather(s, i) zero = Constant<value_ints = [0]>()
            u = Unsqueeze(n, zero) minus = Constant<value_ints = [-1]>() t = Concat<axis = 0>(u, minus)
            r = Reshape(x, t) a = Identity(r) d, mask = Dropout(a) y = Identity(d)
        }"""
    )
    x = weights(2, 3, 4)
    clean(model)
    assert ops(model) == ["Reshape"]
    assert not [node for node in model.graph if node.op_type == "Constant"]
    np.testing.assert_array_equal(run(model, x=x)[0], x.reshape(2, 12))


def test_transposed_weights_fold_and_cancelling_transposes_go() -> None:
    model = parse(
        """g (float[N, 4, 8] x, float[16, 8] w) => (float[N, 4, 16] y) {
            a = Transpose<perm = [0, 2, 1]>(x) b = Transpose<perm = [0, 2, 1]>(a)
            t = Transpose<perm = [1, 0]>(w) y = MatMul(b, t) }""",
        w=weights(16, 8),
    )
    x = weights(2, 4, 8)
    expected = run(model, x=x)[0]
    clean(model)
    assert ops(model) == ["MatMul"]
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-5)


def test_a_branch_on_a_constant_is_inlined_and_its_weights_dropped() -> None:
    model = parse(
        """g (float[4] x, float[4] unused) => (float[4] y) {
            c = Constant<value_int = 1>() t = Cast<to = 9>(c)
            y = If (t) <then_branch = a () => (float[4] p) { p = Neg(x) },
                        else_branch = b () => (float[4] q) { q = Add(x, unused) }>
        }""",
        unused=weights(4),
    )
    clean(model)
    assert ops(model) == ["Neg"]
    assert not model.graph.initializers
    x = weights(4)
    np.testing.assert_array_equal(run(model, x=x)[0], -x)


def test_a_branch_on_data_stays() -> None:
    model = parse(
        """g (float[4] x, bool c) => (float[4] y) {
            y = If (c) <then_branch = a () => (float[4] p) { p = Identity(x) },
                        else_branch = b () => (float[4] q) { r = Identity(x) q = Neg(r) }>
        }"""
    )
    clean(model)
    assert ops(model) == ["If"]
    x = weights(4)
    np.testing.assert_array_equal(run(model, x=x, c=np.array(True))[0], x)
    np.testing.assert_array_equal(run(model, x=x, c=np.array(False))[0], -x)


def test_surviving_nodes_keep_their_names_and_outputs_theirs() -> None:
    model = parse(
        """g (float[N, 4] x) => (float[N, 4] y, float[N, 4] z) {
            [first] a = Relu(x) [drop] b = Identity(a) [last] y = Neg(b) z = Identity(x) }"""
    )
    clean(model)
    assert [node.name for node in model.graph if node.op_type != "Identity"] == ["first", "last"]
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    x = weights(2, 4)
    np.testing.assert_array_equal(run(model, x=x)[1], x)


def test_shapes_are_inferred_with_symbols() -> None:
    model = parse("g (float[batch, 4, 8] x) => (float[A, B] y) { f = Flatten(x) y = Relu(f) }")
    clean(model)
    shape = next(iter(model.graph)).outputs[0].shape
    assert shape is not None and shape[1] == 32


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_constants_that_are_infinite_warn_nobody() -> None:
    """T5 takes the logarithm of a distance of 0 and never reads it."""
    model = parse("g (float[2] x) => (float[2] y) <float[2] d = {0, 1}> { l = Log(d) e = Exp(l) y = Add(x, e) }")
    clean(model)
    assert ops(model) == ["Add"]
