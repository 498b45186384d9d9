"""The statistics pass on small graphs: right, independent of batching, order and threads, and honest about bad data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from calibration import plan as plan_module
from calibration.collect import collect
from calibration.ranges import choose_ranges
from calibration.statistics import StatisticNeeds
from graphs.errors import BadInput

DIGESTS = {"model_digest": "m", "data_digest": "d", "calibrated": True}
CONV = """
<ir_version: 8, opset_import: ["": 17]>
net (float[batch, 3, h, w] x) => (float[batch, 4, h, w] y)
<float[4, 3, 3, 3] weight>
{
    hidden = Conv <pads=[1, 1, 1, 1]> (x, weight)
    y = Relu (hidden)
}
"""
BRANCH = """
<ir_version: 8, opset_import: ["": 17]>
net (float[n] x) => (float[n] y)
{
    total = ReduceSum <keepdims=0> (x)
    zero = Constant <value_float=0.0> ()
    positive = Greater (total, zero)
    y = If (positive) <
        then_branch = yes () => (float[n] inside) { inside = Neg (x) },
        else_branch = no () => (float[n] other) { other = Abs (x) }
    >
}
"""


def conv_model(opset: int = 17) -> ir.Model:
    proto = onnx.parser.parse_model(CONV.replace('"": 17', f'"": {opset}'))
    weight = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    del proto.graph.initializer[:]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    return ir.from_proto(proto)


def images(count: int, seed: int = 0, side: int = 9) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(1, 3, side, side)) * rng.uniform(0.01, 30)).astype(np.float32) for _ in range(count)]


def run(model: ir.Model, name: str, x: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    proto = ir.to_proto(model)
    proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return ort.InferenceSession(proto.SerializeToString()).run([name], {"x": x})[0]


@pytest.fixture
def tiny_fetch_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is reduced inside the runtime."""
    monkeypatch.setattr(plan_module, "_FETCH_LIMIT", 0)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.integers(1, 3), st.booleans())
@settings(max_examples=10)
def test_any_split_into_batches_gives_the_same_table(sizes, threads, reverse):
    model, alone = conv_model(), images(sum(sizes), seed=len(sizes))
    expected = collect(model, ["x", "hidden", "y"], ({"x": x} for x in alone), batchable=True, threads=1)
    order = alone[::-1] if reverse else alone
    cuts = np.split(np.concatenate(order), np.cumsum(sizes)[:-1])
    split = collect(model, ["x", "hidden", "y"], ({"x": x} for x in cuts), batchable=True, threads=threads)
    assert split.samples == expected.samples
    for method in ("minmax", "entropy", "percentile", "mse"):
        assert choose_ranges(split, method, **DIGESTS) == choose_ranges(expected, method, **DIGESTS)


def test_extremes_and_channels_are_those_of_the_activation():
    model, samples = conv_model(), images(3)
    found = collect(model, [StatisticNeeds("hidden", channel_axis=1)], ({"x": x} for x in samples), batchable=True)
    hidden = np.concatenate([run(model, "hidden", x) for x in samples])
    statistics = found["hidden"]
    assert (statistics.minimum, statistics.maximum) == pytest.approx((hidden.min(), hidden.max()), rel=1e-5)
    assert statistics.count == statistics.histogram.total == hidden.size
    channels = statistics.channels[1]
    np.testing.assert_allclose(channels.absmax, np.abs(hidden).max(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(channels.mean, hidden.mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("side", [9, 80, 200])
def test_reducing_inside_the_runtime_gives_the_same_statistics(monkeypatch, opset, side):
    """4 channels of 9, 80 and 200 squared: every value, every 11th, every 31st enters the histogram."""
    needs = [StatisticNeeds("hidden", channel_axis=1), StatisticNeeds("y"), StatisticNeeds("y", channel_axis=-1)]
    samples = [{"x": x} for x in images(2, side=side)]
    fetched = collect(conv_model(opset), needs, samples, batchable=True)
    monkeypatch.setattr(plan_module, "_FETCH_LIMIT", 0)
    plans = []
    reduced = collect(conv_model(opset), needs, samples, batchable=True, on_plan=plans.append)
    assert set(plans[0].reduced) == {"hidden", "y"}
    assert choose_ranges(reduced, **DIGESTS) == choose_ranges(fetched, **DIGESTS)
    for name, axis in (("hidden", 1), ("y", -1)):
        a, b = reduced[name].channels[axis], fetched[name].channels[axis]
        np.testing.assert_array_equal(a.absmax, b.absmax)
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-4, atol=1e-5)


def test_shapes_may_differ_from_sample_to_sample():
    model, samples = conv_model(), [images(1, seed, side)[0] for seed, side in enumerate((5, 12, 7))]
    found = collect(model, ["y"], ({"x": x} for x in samples), batchable=True)
    assert found["y"].count == sum(4 * x.shape[2] * x.shape[3] for x in samples)
    assert found["y"].maximum == pytest.approx(max(run(model, "y", x).max() for x in samples), rel=1e-5)


def test_samples_that_cannot_be_joined_are_left_whole():
    found = collect(conv_model(), ["y"], [{"x": np.concatenate(images(4))}], batchable=False)
    assert found.samples == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_value_that_is_not_finite_is_named_with_its_sample(monkeypatch, bad, limit):
    monkeypatch.setattr(plan_module, "_FETCH_LIMIT", limit)
    samples = images(4)
    samples[2][0, 1, 4, 4] = bad
    with pytest.raises(BadInput, match="sample 2") as caught:
        collect(conv_model(), ["y", "hidden"], ({"x": x} for x in samples), batchable=True)
    assert "hidden" in caught.value.where


def test_a_tensor_that_is_always_zero_is_fine():
    found = collect(conv_model(), ["y"], [{"x": np.zeros((1, 3, 5, 5), np.float32)}], batchable=True)
    assert choose_ranges(found, **DIGESTS).tensors["y"].symmetric_scale(127) == 1.0


def test_float16_models_are_observed():
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float16[n] x) => (float16[n] y) { y = Neg (x) }'
    )
    found = collect(ir.from_proto(proto), ["y"], [{"x": np.array([1.5, -3], np.float16)}], batchable=True)
    assert (found["y"].minimum, found["y"].maximum) == (-1.5, 3.0)


@pytest.mark.parametrize(
    ("tensor", "why"), [("inside", "subgraph"), ("nowhere", "no such tensor"), ("positive", "BOOL")]
)
def test_what_cannot_be_observed_is_refused_with_the_reason(tensor, why):
    model = ir.from_proto(onnx.parser.parse_model(BRANCH))
    with pytest.raises(BadInput, match=why):
        collect(model, [tensor], [{"x": np.ones(3, np.float32)}], batchable=True)


def test_a_constant_is_refused():
    with pytest.raises(BadInput, match="constant"):
        collect(conv_model(), ["weight"], [{"x": images(1)[0]}], batchable=True)


def test_no_samples_is_an_error():
    with pytest.raises(BadInput, match="no samples"):
        collect(conv_model(), ["y"], [], batchable=True)


def test_the_memory_bound_is_told_first_and_counts_activations_not_samples():
    bounds: list[int] = []
    for count in (2, 9):
        heard: list[str] = []
        collect(
            conv_model(),
            ["hidden", "y"],
            ({"x": x} for x in images(count, side=64)),
            batchable=True,
            threads=2,
            on_plan=lambda plan, heard=heard: (bounds.append(plan.memory_bound), heard.append("plan")),
            on_progress=lambda done, heard=heard: heard.append(str(done)),
        )
        assert heard[0] == "plan"
        assert heard[-1] == str(count)
    assert bounds[0] == bounds[1] > (3 + 4 + 4) * 64 * 64 * 4


def test_a_model_file_with_external_weights_is_read_where_it_lies(tmp_path: Path):
    path = tmp_path / "model.onnx"
    ir.save(conv_model(), path, external_data="model.data")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    sample = [{"x": images(1)[0]}]
    expected = collect(conv_model(), ["y"], sample, batchable=True)
    assert choose_ranges(collect(path, ["y"], sample, batchable=True), **DIGESTS) == choose_ranges(expected, **DIGESTS)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_shapes_that_the_graph_computes_are_in_the_plan():
    """As exporters write position embeddings: without the Slice's size, nothing behind it would be in the bound."""
    model = ir.from_onnx_text(
        """
        <ir_version: 8, opset_import: ["": 17]>
        net (float[batch, length, 2] x) => (float[batch, length, 2] y)
        <int64 one = {1}, int64[1] first = {0}, float[8, 2] table = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>
        {
            shape = Shape (x)
            length = Gather (shape, one)
            end = Unsqueeze (length, first)
            positions = Slice (table, first, end, first)
            gate = Sigmoid (positions)
            y = Mul (x, gate)
        }
        """
    )
    plans = []
    collect(model, ["gate", "y"], [{"x": np.ones((1, 5, 2), np.float32)}], batchable=True, on_plan=plans.append)
    assert plans[0].unsized == () and plans[0].sentence.endswith(" MB")
    assert replace(plans[0], unsized=("a",) * 5).sentence.endswith(
        "MB, without a, a, a and 2 more, whose shape is not known before it runs"
    )
