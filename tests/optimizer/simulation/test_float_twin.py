"""The simulation of half precision: it rounds and overflows as numpy's float16 and onnx's reference do."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from benchmarks.accuracy.compare import sqnr_db
from graphs.writing.node_names import name_nodes
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.passes.infer_shapes import InferShapes
from optimizer.simulation.float_twin import float_twin
from optimizer.simulation.run import simulated
from tests.drawing import seeded

HEADER = '<ir_version: 10, opset_import: ["" : 23]>\n'
RNG = seeded(0)


def twin(text: str) -> onnx.ModelProto:
    model = ir.from_onnx_text(HEADER + text)
    name_nodes(model)
    InferShapes().apply(model)
    float_twin(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(proto: onnx.ModelProto, level: int = 99, **feed: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel(level)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


ROUNDS = {
    np.float16: twin(
        "g (float[N] x) => (float[N] y) { h = Cast<to = 10>(x) n = Neg(h) m = Neg(n) y = Cast<to = 1>(m) }"
    ),
    ml_dtypes.bfloat16: twin(
        "g (float[N] x) => (float[N] y) { h = Cast<to = 16>(x) n = Neg(h) m = Neg(n) y = Cast<to = 1>(m) }"
    ),
}
CORNERS = np.array(
    [
        0.0,
        -0.0,
        2.0**-24,
        2.0**-25,
        1.5 * 2.0**-25,
        2.0**-14,
        65504.0,
        65519.9,
        65520.0,
        1e30,
        2049.0,
        2051.0,
        1 + 2.0**-11,
        1 + 3 * 2.0**-11,
        1 + 2.0**-8,
        1 + 3 * 2.0**-8,
        np.inf,
        -np.inf,
        np.nan,
    ],
    np.float32,
)


@pytest.mark.parametrize("level", [0, 1, 2, 99])
@pytest.mark.parametrize("dtype", ROUNDS)
def test_every_optimization_level_keeps_the_rounding_ties_subnormals_and_overflow(dtype: type, level: int) -> None:
    x = np.concatenate([CORNERS, -CORNERS, RNG.normal(size=500) * 10.0 ** RNG.uniform(-9, 6, 500)]).astype(np.float32)
    with np.errstate(over="ignore"):
        wanted = x.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(run(ROUNDS[dtype], level, x=x)[0], wanted)


@settings(max_examples=50)
@given(st.lists(st.floats(width=32), min_size=1, max_size=64))
def test_any_float_rounds_as_numpy_rounds(values: list[float]) -> None:
    x = np.array(values, np.float32)
    for dtype, model in ROUNDS.items():
        with np.errstate(all="ignore"):
            wanted = x.astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(run(model, x=x)[0], wanted)


def typed(
    text: str, dtype: ir.DataType = ir.DataType.FLOAT16, **weights: np.ndarray
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The float model and its typed form."""
    model = ir.from_onnx_text(HEADER + text)
    for value in [v for v in model.graph.inputs if v.name in weights]:
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(weights[str(value.name)], name=value.name)
        model.graph.register_initializer(value)
    name_nodes(model)
    InferShapes().apply(model)
    given = ir.to_proto(model)
    HalfPrecision(dtype).apply(model)
    return given, ir.to_proto(model)


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


V = "float[4] s, float[4] b"
AFFINE = {"s": normal(4), "b": normal(4)}
AGREEING = {
    "layer norm": (
        "g (float[N, 4] x, " + V + ") => (float[N, 4] y) { y = LayerNormalization(x, s, b) }",
        AFFINE,
        (64, 4),
    ),
    "rms norm": (
        "g (float[N, 4] x, float[4] s) => (float[N, 4] y) { y = RMSNormalization(x, s) }",
        {"s": normal(4)},
        (64, 4),
    ),
    "softmax": ("g (float[N, 64] x) => (float[N, 64] y) { y = Softmax(x) }", {}, (8, 64)),
    "gelu": ("g (float[N, 64] x) => (float[N, 64] y) { y = Gelu(x) }", {}, (8, 64)),
    "sigmoid": ("g (float[N, 64] x) => (float[N, 64] y) { y = Sigmoid(x) }", {}, (32, 64)),
    "softsign": ("g (float[N, 64] x) => (float[N, 64] y) { y = Softsign(x) }", {}, (32, 64)),
    "silu": ("g (float[N, 64] x) => (float[N, 64] y) { a = Sigmoid(x) y = Mul(a, x) }", {}, (32, 64)),
    "gelu by tanh": ('g (float[N, 64] x) => (float[N, 64] y) { y = Gelu<approximate = "tanh">(x) }', {}, (8, 64)),
    "convolution": (
        "g (float[N, 3, 9, 9] x, float[4, 3, 3, 3] w, float[4] b) => (float[N, 4, 1, 1] y) { a = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = Relu(a) y = GlobalAveragePool(r) }",
        {"w": normal(4, 3, 3, 3), "b": normal(4)},
        (3, 3, 9, 9),
    ),
    "gemm": (
        "g (float[N, 64] x, float[8, 64] w, float[8] b) => (float[N, 8] y) { y = Gemm<transB = 1, alpha = 0.7>(x, w, b) }",
        {"w": normal(8, 64), "b": normal(8)},
        (16, 64),
    ),
    "instance norm": (
        "g (float[N, 4, 8, 8] x, " + V + ") => (float[N, 4, 8, 8] y) { y = InstanceNormalization(x, s, b) }",
        AFFINE,
        (4, 4, 8, 8),
    ),
    "group norm": (
        "g (float[N, 4, 8, 8] x, "
        + V
        + ") => (float[N, 4, 8, 8] y) { y = GroupNormalization<num_groups = 2>(x, s, b) }",
        AFFINE,
        (4, 4, 8, 8),
    ),
    "batch norm": (
        "g (float[N, 4, 8, 8] x, "
        + V
        + ", float[4] m, float[4] v) => (float[N, 4, 8, 8] y) { y = BatchNormalization(x, s, b, m, v) }",
        {**AFFINE, "m": normal(4), "v": normal(4) ** 2 + 1},
        (4, 4, 8, 8),
    ),
    "mean": (
        "g (float[N, 3, 200] x) => (float[N, 3] y) <int64[1] axes = {-1}> { y = ReduceMean<keepdims = 0>(x, axes) }",
        {},
        (8, 3, 200),
    ),
}


@pytest.mark.parametrize("name", AGREEING)
def test_noise_is_that_of_the_reference(name: str, tmp_path: Path) -> None:
    text, weights, shape = AGREEING[name]
    given, half = typed(text, **weights)
    onnx.save(half, tmp_path / "typed.onnx")
    x = normal(*shape)
    wanted = run(given, x=x)[0].astype(float)
    with simulated(tmp_path / "typed.onnx") as engine:
        ours = engine.infer({"x": x})["y"]
    theirs = ReferenceEvaluator(half).run(None, {"x": x})[0]
    found = [sqnr_db(float((wanted**2).sum()), float(((wanted - got) ** 2).sum())) for got in (ours, theirs)]
    assert found[0] == pytest.approx(found[1], abs=0.8)
    assert 50 < found[0] < 80


def test_an_overflow_that_onnx_runtime_hides_is_seen(tmp_path: Path) -> None:
    _, half = typed(
        "g (float[N, 4] x) => (float[N, 4] y) <float k = {300.0}> { a = Mul(x, k) b = Mul(a, k) y = Div(b, k) }"
    )
    onnx.save(half, tmp_path / "typed.onnx")
    x = np.array([[1, 2, 0, -3]], np.float32)
    assert np.isfinite(run(half, x=x)[0]).all()
    with simulated(tmp_path / "typed.onnx") as engine:
        assert engine.infer({"x": x})["y"].tolist() == [[np.inf, np.inf, 0, -np.inf]]


def test_bodies_round_too() -> None:
    model = twin(
        """g (float16 x, bool c, int64 n) => (float16 y, float16 z) <float f = {300.0}> {
            k = Cast<to = 10>(f)
            y = If(c) <then_branch = a () => (float16 t) { d = Mul(x, k) t = Mul(d, k) }, else_branch = b () => (float16 e) { e = Identity(x) }>
            z = Loop(n, c, x) <body = l (int64 i, bool go, float16 s) => (bool on, float16 r) { on = Identity(go) r = Mul(s, k) }> }"""
    )
    feed = {"x": np.array(1, np.float16), "c": np.array(True), "n": np.array(2)}
    y, z = run(model, **feed)
    assert y.dtype == z.dtype == np.float16
    assert np.isinf(y) and np.isinf(z)
    assert run(model, **{**feed, "c": np.array(False)})[0] == 1


def test_a_half_model_keeps_its_borders_and_reads_weights_where_they_lie(tmp_path: Path) -> None:
    model = ir.from_onnx_text(
        HEADER
        + "g (float16[N, 64] x, float16[64, 80] w, float16[2] k) => (float16[N, 80] y, float16[64, 80] w, float16[2] k) { y = MatMul(x, w) }"
    )
    weights = {"w": normal(64, 80).astype(np.float16), "k": np.array([1, 2], np.float16)}
    for value in [v for v in model.graph.inputs if v.name in weights]:
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(weights[str(value.name)], name=value.name)
        model.graph.register_initializer(value)
    ir.save(model, tmp_path / "typed.onnx", external_data="typed.data")
    x = normal(4, 64).astype(np.float16)
    with simulated(tmp_path / "typed.onnx") as engine:
        found = engine.infer({"x": x})
        assert len(list(tmp_path.iterdir())) == 3
    assert [value.dtype for value in found.values()] == [np.float16] * 3
    np.testing.assert_allclose(
        found["y"].astype(np.float32), (x.astype(np.float32) @ weights["w"].astype(np.float32)), rtol=1e-3, atol=1e-3
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_bfloat16_convolutions_are_simulated(tmp_path: Path) -> None:
    given, half = typed(
        "g (float[N, 2, 5, 5] x, float[3, 2, 3, 3] w) => (float[N, 3, 3, 3] y) { a = Conv(x, w) y = Sigmoid(a) }",
        ir.DataType.BFLOAT16,
        w=normal(3, 2, 3, 3),
    )
    onnx.save(half, tmp_path / "typed.onnx")
    x = normal(4, 2, 5, 5)
    with simulated(tmp_path / "typed.onnx") as engine:
        ours = engine.infer({"x": x})["y"]
    wanted = run(given, x=x)[0]
    assert 35 < sqnr_db(float((wanted**2).sum()), float(((wanted - ours) ** 2).sum())) < 65
    assert ours.astype(ml_dtypes.bfloat16).astype(np.float32).tolist() == ours.tolist()


def test_an_output_left_out_is_not_rounded() -> None:
    proto = twin(
        """g (float16[2, 1, 4] x, float16[1, 9, 4] w, float16[1, 9, 3] r) => (float16[1, 1, 3] h) {
        , h = GRU <hidden_size = 3> (x, w, r) }"""
    )
    assert all(name for node in proto.graph.node if node.op_type == "Cast" for name in node.output)
