"""Half precision: strongly typed, FP32 inputs and outputs, FP32 islands where FP16 cannot hold the numbers."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.tensorrt.lint import lint
from optimizer.passes.half_precision.graph import HalfPrecision
from tests.optimizer.passes.half_precision.graphs import BRAIN, FLOAT, HALF, casts, check, parse, run, type_of


def test_inputs_and_outputs_stay_fp32_under_their_names() -> None:
    model = parse("g (float[N, 4] x) => (float[N, 4] y, float[N, 4] r) { r = Relu(x) y = Neg(r) }")
    result = HalfPrecision().apply(model)
    assert result.modified == 2
    assert [v.dtype for v in (*model.graph.inputs, *model.graph.outputs)] == [FLOAT] * 3
    assert [v.name for v in model.graph.outputs] == ["y", "r"]
    assert type_of(model, "Neg") == HALF
    assert casts(model) == 3
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    y, r = run(model, x=x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(-y, np.maximum(x, 0), atol=1e-3)
    np.testing.assert_array_equal(r, -y)


def test_weights_convert_once_keep_their_name_and_stay_where_fp32_needs_them() -> None:
    model = parse(
        """g (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1, 2, 3, 4}> {
            [a] p = MatMul(x, w) [b] q = MatMul(p, w) [c] y = MatMul(q, w) }"""
    )
    HalfPrecision(keep={"c": "asked for"}).apply(model)
    types = {value.dtype for value in model.graph.initializers.values()}
    assert types == {FLOAT, HALF} and len(model.graph.initializers) == 2
    run(model, x=np.ones((1, 2), np.float32))
    model = parse("g (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }")
    HalfPrecision().apply(model)
    assert {name: value.dtype for name, value in model.graph.initializers.items()} == {"w": HALF}


def test_large_weights_convert_when_they_are_read() -> None:
    model = parse("g (float[N, 2] x, float[2, 4000] w) => (float[N, 4000] y) { y = MatMul(x, w) }")
    weight = model.graph.inputs.pop()
    weight.const_value = ir.tensor(np.full((2, 4000), 0.1, np.float32), name="w")
    model.graph.register_initializer(weight)
    HalfPrecision().apply(model)
    assert isinstance(model.graph.initializers["w"].const_value, ir.LazyTensor)
    assert run(model, x=np.ones((1, 2), np.float32))[0][0, 0] == pytest.approx(0.2, rel=1e-3)


def test_casts_to_float_are_rewritten() -> None:
    """Cast(mask, FLOAT) feeding a Sub is what breaks strongly typed BERT exports."""
    model = parse(
        """g (int64[N] mask, float[N] s) => (float[N] y) <float one = {1.0}, float fill = {-3.4028235e38}> {
            f = Cast<to = 1>(mask) d = Sub(one, f) m = Mul(d, fill) y = Add(s, m) }"""
    )
    result = HalfPrecision().apply(model)
    assert type_of(model, "Sub") == HALF and type_of(model, "Add") == HALF
    assert any("saturate" in note for note in result.notes)
    y = run(model, mask=np.array([1, 0]), s=np.array([5, 5], np.float32))[0]
    assert y[0] == 5 and np.isfinite(y[1]) and y[1] < -3e4


def test_clip_bounds_beyond_fp16_saturate_exactly() -> None:
    model = parse("g (float[N] x) => (float[N] z) <float lo = {0.0}, float hi = {3.4e38}> { z = Clip(x, lo, hi) }")
    HalfPrecision().apply(model)
    assert type_of(model, "Clip") == HALF
    np.testing.assert_array_equal(run(model, x=np.array([-1, 60000], np.float32))[0], [0, 60000])


MIXED = {
    "Resize": """g (float[1, 2, 4, 4] x) => (float[1, 2, 8, 8] y) <float[4] s = {1, 1, 2, 2}> { a = Relu(x) y = Resize(a, , s) }""",
    "ConstantOfShape": """g (float[2, 2] x) => (float[2, 2] y) {
        s = Shape(x) c = ConstantOfShape<value = float[1] {3.0}>(s) y = Add(x, c) }""",
    "Range": """g (float[4] x) => (float[4] y) <float a = {0.0}, float b = {4.0}, float d = {1.0}> {
        r = Range(a, b, d) y = Add(x, r) }""",
    "random": "g (float[2, 2] x) => (float[2, 2] y) { r = RandomNormalLike<seed = 1.0>(x) o = Mul(r, x) y = Sub(o, o) }",
    "TopK": "g (float[8] x) => (float[2] v, int64[2] i) <int64[1] k = {2}> { a = Relu(x) v, i = TopK(a, k) }",
    "Where": "g (float[4] x, bool[4] c) => (float[4] y) <float f = {-1e9}> { a = Relu(x) y = Where(c, a, f) }",
    "integers": "g (int64[4] x) => (int64[4] y) { y = Add(x, x) }",
    "double": "g (double[4] x, float[4] f) => (double[4] y, float[4] z) { y = Add(x, x) z = Relu(f) }",
    "LSTM": """g (float[3, 1, 4] x, float[1, 8, 4] w, float[1, 8, 2] r) => (float[3, 1, 1, 2] y) {
        a = Relu(x) y, h, c = LSTM<hidden_size = 2>(a, w, r) }""",
    "If": """g (float[4] x, bool c) => (float[4] y) {
        a = Relu(x)
        b = If (c) <then_branch = t () => (float[4] p) { p = Neg(a) }, else_branch = e () => (float[4] q) { q = Sqrt(a) }>
        y = Abs(b) }""",
    "If passing an outer value on": """g (float[4] x, bool c) => (float[4] y) {
        y = If (c) <then_branch = t () => (float[4] p) { p = Identity(x) }, else_branch = e () => (float[4] q) { q = Neg(x) }> }""",
    "Loop": """g (float[4] x, int64 n, bool c) => (float[4] y) {
        a = Relu(x)
        b = Loop (n, c, a) <body = l (int64 i, bool k, float[4] u) => (bool ko, float[4] v) {
            ko = Identity(k) v = Add(u, a) }>
        y = Abs(b) }""",
    "LayerNormalization": """g (float[2, 4] x, float[4] s) => (float[2, 4] y) { y = LayerNormalization<epsilon = 1e-12>(x, s) }""",
}


@pytest.mark.parametrize("name", MIXED)
def test_operators_with_types_of_their_own(name: str) -> None:
    model = parse(MIXED[name])
    rng = np.random.default_rng(0)
    feed: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        shape = value.shape.numpy() if value.shape is not None else ()
        if value.dtype in (FLOAT, ir.DataType.DOUBLE):
            feed[str(value.name)] = rng.uniform(-1, 1, shape).astype(value.dtype.numpy())
        else:
            feed[str(value.name)] = np.ones(shape, value.dtype.numpy()) if value.dtype else np.ones(shape)
    expected = run(parse(MIXED[name]), **feed)
    HalfPrecision().apply(model)
    for got, want in zip(run(model, **feed), expected, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=5e-3, atol=5e-3)


QDQ = """g (float[N, 4] x) => (float[N, 4] y)
<int8[4, 4] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}}, float[4] ws = {{{weight}, 0.01, 0.01, 0.01}}, float s = {{{data}}},
 int8 z = {{0}}, int8[4] wz = {{0, 0, 0, 0}}> {{
    a = Relu(x) q = QuantizeLinear(a, s, z) d = DequantizeLinear(q, s, z)
    v = DequantizeLinear<axis = 1>(w, ws, wz) y = MatMul(d, v) }}"""


def test_scales_become_fp16_with_their_neighbours() -> None:
    model = parse(QDQ.format(weight=0.02, data=0.05))
    x = np.random.default_rng(0).uniform(0, 6, (2, 4)).astype(np.float32)
    expected = run(parse(QDQ.format(weight=0.02, data=0.05)), x=x)[0]
    HalfPrecision().apply(model)
    assert lint(model) == []
    assert {v.dtype for name, v in model.graph.initializers.items() if name in ("s", "ws")} == {HALF}
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize(("weight", "data"), [(1e-7, 0.05), (0.02, 1e-7), (0.02, 1e5)])
def test_scales_out_of_fp16_stay_fp32_behind_casts(weight: float, data: float) -> None:
    model = parse(QDQ.format(weight=weight, data=data))
    HalfPrecision().apply(model)
    assert lint(model) == []
    assert type_of(model, "MatMul") == HALF
    run(model, x=np.ones((1, 4), np.float32))


def test_a_model_with_its_own_half_precision_is_left_alone() -> None:
    model = parse(
        "g (float16[N] x) => (float[N] y) { h = Constant<value = float16 {2}>() p = Mul(x, h) y = Cast<to = 1>(p) }"
    )
    result = HalfPrecision().apply(model)
    assert result.modified == 0 and "of its own" in result.notes[0]


def test_bfloat16_keeps_fp32_range() -> None:
    model = parse(
        """g (float[N, 2, 4, 4] x, float[2, 2, 1, 1] w) => (float[N, 2, 4, 4] y) <float eps = {1e-9}> {
            c = Conv(x, w) a = Add(c, eps) y = Pow(a, eps) }"""
    )
    typing = HalfPrecision(BRAIN)
    typing.apply(model)
    assert typing.kept == {}
    assert type_of(model, "Pow") == BRAIN
    assert model.opset_imports[""] == 22
    check(model)


@settings(max_examples=60)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=16))
def test_saturated_constants_are_rounded_or_finite(values: list[float]) -> None:
    model = parse("g (float[N] x, float[M] w) => (float[K] y) { y = Max(x, w) }")
    weight = model.graph.inputs.pop()
    array = np.array(values, np.float32)
    weight.const_value, weight.shape = ir.tensor(array, name="w"), ir.Shape(array.shape)
    model.graph.register_initializer(weight)
    HalfPrecision().apply(model)
    half = model.graph.initializers["w"].const_value
    assert half is not None
    if half.dtype == HALF:
        got, finite = half.numpy().astype(np.float32), np.isfinite(array)
        assert np.all(np.isfinite(got[finite]))
        np.testing.assert_allclose(got[finite], np.clip(array[finite], -65504, 65504), rtol=2**-11, atol=2**-24)


def test_a_quantized_tensor_made_from_shapes_is_data() -> None:
    """DETR's queries are zeros expanded to the batch: TensorRT wants both scales of a product in one type."""
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[batch,4] x) => (float[batch,4] y)
        <float[1,4] zero = {0,0,0,0}, int64[1] rest = {4}, float s = {0.1}, int8 z = {0}, float[4,4] w =
         {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}> {
            shape = Shape<end=1>(x)
            full = Concat<axis=0>(shape, rest)
            queries = Expand(zero, full)
            [q] q8 = QuantizeLinear(queries, s, z)
            [dq] qd = DequantizeLinear(q8, s, z)
            [wq] w8 = QuantizeLinear(w, s, z)
            [wdq] wd = DequantizeLinear(w8, s, z)
            [mm] y = MatMul(qd, wd)
        }"""
    )
    HalfPrecision().apply(model)
    scales = {node.name: node.inputs[1].dtype for node in model.graph if node.op_type.endswith("Linear")}
    assert set(scales.values()) == {ir.DataType.FLOAT16}


def test_an_output_that_a_node_in_fp32_reads_too_is_cast_once() -> None:
    model = parse(
        """g (float[N, 4, 4] x) => (float[N, 4, 4] boxes, int64[M, 3] sel) {
        boxes = Neg(x) scores = Abs(x) sel = NonMaxSuppression(boxes, scores) }"""
    )
    HalfPrecision().apply(model)
    names = [node.name for node in check(model).graph.node]
    assert len(names) == len(set(names)) and [v.name for v in model.graph.outputs] == ["boxes", "sel"]


@pytest.mark.parametrize(
    "body",
    [
        "s = SequenceConstruct(a, a) z = SequenceAt(s, index)",
        "s = SplitToSequence<keepdims = 1>(a) z = ConcatFromSequence<axis = 0>(s)",
        "z = MeanVarianceNormalization<axes = [0]>(a)",
    ],
)
def test_sequences_and_bodies_of_functions_load_and_run(body: str) -> None:
    model = parse(f"g (float[4] x) => (float[N] z) <int64 index = {{1}}> {{ a = Neg(x) {body} }}")
    HalfPrecision().apply(model)
    assert np.isfinite(run(model, x=np.array([1, 2, 3, 5], np.float32))[0]).all()


def test_an_output_that_was_float16_stays_float16() -> None:
    """Whoever runs a float16 model feeds and reads float16."""
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float16[2,4] x) => (float16[2,4] y, float[2,4] z) {
            wide = Cast<to=1>(x)
            z = Relu(wide)
            w = Neg(z)
            y = Cast<to=10>(w)
        }"""
    )
    HalfPrecision().apply(model)
    assert {str(value.name): value.dtype for value in model.graph.outputs} == {
        "y": ir.DataType.FLOAT16,
        "z": ir.DataType.FLOAT,
    }
