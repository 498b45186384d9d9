"""What axis 0 counts, found out by running: batches, clouds, time-major nets, frozen graphs, inputs beside them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from calibration.batch_probe import probe_batching
from engines.engine import batchable
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.drawing import seeded

rng = seeded(0)


def engine(text, **weights):
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w, name) for name, w in weights.items())
    return OnnxRuntimeEngine(model.SerializeToString())


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def found(engine, *feeds, **options):
    with engine:
        return probe_batching(engine, feeds, lambda: feeds[0], **options)


W = normal(4, 3)
MLP = "(float[N,4] x) => (float[N,3] y) { z = MatMul(x, w) y = Relu(z) }"
CLOUD = """(float[P,4] x) => (float[1,3] y) <int64[1] zero = {0}> { z = MatMul(x, w) y = ReduceMax<axes = [0]>(z) }"""
PER_POINT = """(float[P,4] x) => (float[P,3] y) { z = MatMul(x, w) m = ReduceMean<axes = [0]>(z) y = Sub(z, m) }"""


def test_rows_of_a_multilayer_perceptron_are_samples():
    batching = found(engine(MLP, w=W), {"x": normal(5, 4)})
    assert (batching.inputs, batching.outputs, batching.frozen) == (("x",), ("y",), {})


def test_one_row_per_file_is_enough():
    assert found(engine(MLP, w=W), {"x": normal(1, 4)}, {"x": normal(1, 4)}).inputs == ("x",)
    assert found(engine(MLP, w=W), {"x": normal(1, 4)}).inputs == ("x",)


@pytest.mark.filterwarnings("error")
def test_a_mask_of_infinities_is_no_warning_of_numpys():
    mask = np.where(normal(5, 4) > 0, -np.inf, 0).astype(np.float32)
    text = "(float[N,4] x) => (float[N,4] y) { y = Softmax(x) }"
    assert found(engine(text), {"x": mask}, {"x": mask[:2]}).inputs == ("x",)


@pytest.mark.parametrize("text", [CLOUD, PER_POINT])
@pytest.mark.parametrize("rows", [1, 7])
def test_points_of_a_cloud_are_no_samples(text, rows):
    batching = found(engine(text, w=W), {"x": normal(rows, 4)})
    assert batching.inputs == () and batching.frozen == {} and "no independent samples" in batching.why


def test_a_row_that_cannot_run_alone_is_no_sample():
    text = """(float[T,4] x) => (float[1,2,A] y) <int64[1] zero = {0}> {
        t = Transpose(x) u = Unsqueeze(t, zero) y = Conv(u, w) }"""
    assert found(engine(text, w=normal(2, 4, 3)), {"x": normal(9, 4)}).inputs == ()


def test_steps_of_a_time_major_net_are_no_samples():
    text = "(float[T,1,4] x) => (float[T,1,1,5] y) { y = RNN<hidden_size = 5>(x, w, r) }"
    assert found(engine(text, w=normal(1, 5, 4), r=normal(1, 5, 5)), {"x": normal(6, 1, 4)}).inputs == ()


@pytest.mark.parametrize("rows", [1, 8])
def test_a_graph_frozen_to_one_row(rows):
    text = """(float[batch,2,2] x) => (float[batch,3] y) <int64[2] s = {1, 4}> { f = Reshape(x, s) y = MatMul(f, w) }"""
    batching = found(engine(text, w=W), {"x": normal(rows, 2, 2)}, {"x": normal(rows, 2, 2)})
    assert batching.inputs == () and batching.frozen == {"x": 1} and "1 row only" in batching.why


def test_a_graph_frozen_to_several_rows():
    text = """(float[batch,2,2] x) => (float[batch,3] y) <int64[2] s = {6, 4}> { f = Reshape(x, s) y = MatMul(f, w) }"""
    assert found(engine(text, w=W), {"x": normal(9, 2, 2)}).frozen == {"x": 6}


def test_an_input_beside_the_batch():
    text = """(float[N,4] x, float[V,3] table, int64[N] ids, float[1] scale) => (float[N,3] y) {
        z = MatMul(x, w) e = Gather(table, ids) s = Add(z, e) y = Mul(s, scale) }"""
    feed = {"x": normal(5, 4), "table": normal(9, 3), "ids": np.arange(5), "scale": normal(1)}
    opened = engine(text, w=W)
    batching = found(opened, feed)
    assert batching.inputs == ("x", "ids") and batching.outputs == ("y",)
    assert batchable(batching.of_inputs(opened.inputs)) and not batching.of_inputs(opened.inputs)[1].batched


def test_outputs_that_hold_no_row_per_sample():
    text = """(float[N,2,4] x) => (float[M,3] tokens, float[2,N,3] states, int64[K,2] hits, float[3] shared)
        <int64[2] s = {-1, 3}, int64[1] zero = {0}> {
        z = MatMul(x, w) tokens = Reshape(z, s) states = Transpose<perm = [1, 0, 2]>(z)
        d = ReduceMax<axes = [2], keepdims = 0>(z) zf = Cast<to = 1>(zero) c = Greater(d, zf)
        n = NonZero(c) hits = Transpose(n) shared = Identity(bias) }"""
    batching = found(engine(text, w=W, bias=normal(3)), {"x": normal(4, 2, 4)})
    assert batching.inputs == ("x",) and batching.outputs == ()


def test_random_outputs_are_judged_by_shape():
    text = "(float[N,4] x) => (float[N,4] y) { r = RandomNormalLike(x) y = Add(x, r) }"
    assert found(engine(text), {"x": normal(4, 4)}).inputs == ("x",)


def test_rows_of_padding_are_not_chosen():
    text = "(float[T,4] x) => (float[T,4] y) <int64 zero = {0}> { y = CumSum(x, zero) }"
    x = np.concatenate([np.zeros((6, 4), np.float32), normal(3, 4)])
    assert found(engine(text), {"x": x}).inputs == ()


def test_dynamic_scales_of_the_batch_need_a_looser_bound():
    text = """(float[N,4] x) => (float[N,4] y) {
        q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }"""
    x = np.concatenate([normal(1, 4), 3 * normal(1, 4)])
    assert found(engine(text), {"x": x}, rounding=0.05).inputs == ("x",)


def test_data_the_model_cannot_run_on_is_named():
    text = "(int64[N] ids) => (float[N,3] y) { y = Gather(w, ids) }"
    with pytest.raises(BadInput, match=r"sample 0: the model does not run on it.*indices"):
        found(engine(text, w=W), {"ids": np.array([40, 50])})


def test_a_batch_that_is_another_axis_of_a_state_leaves_samples_whole():
    text = "(float[N,4] x, float[2,N,3] state) => (float[2,N,3] y) { z = MatMul(x, w) y = Add(z, state) }"
    batching = found(engine(text, w=W), {"x": normal(5, 4), "state": normal(2, 5, 3)})
    assert batching.inputs == () and not batching.frozen and "another axis" in batching.why


def test_unnamed_axes_of_one_length_are_told_apart():
    text = """(float[?,4] x, float[?,3] table) => (float[a,b] y) {
        z = MatMul(x, w) t = Transpose(table) y = MatMul(z, t) }"""
    assert found(engine(text, w=W), {"x": normal(5, 4), "table": normal(5, 3)}).inputs == ("x",)


def test_a_symbol_is_one_length_wherever_it_stands():
    text = """(float[n,4] x, float[n,3] table) => (float[a,b] y) {
        z = MatMul(x, w) t = Transpose(table) y = MatMul(z, t) }"""
    assert found(engine(text, w=W), {"x": normal(5, 4), "table": normal(5, 3)}).inputs == ()
