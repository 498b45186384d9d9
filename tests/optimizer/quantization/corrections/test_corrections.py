"""Corrections: exact where they claim to be, and better than doing without."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from graphs.reading.number_types import INT8
from graphs.reading.two_four import is_two_four
from graphs.reading.weighted import WeightedOp
from optimizer.quantization.codes.scheme import FP8, TENSORRT, Scheme, WeightScheme
from optimizer.quantization.codes.weights import WeightScales, mse_scales, quantize
from optimizer.quantization.corrections.concat_scale import EqualizeConcatBranches
from optimizer.quantization.corrections.equalization import EqualizeActivations
from optimizer.quantization.corrections.fallback import best_fallback
from optimizer.quantization.corrections.gptq import gptq
from optimizer.quantization.corrections.input_rows import InputRows
from optimizer.quantization.corrections.rounding import Variant, round_weights
from optimizer.quantization.corrections.sensitivity import Sensitivity, measure
from optimizer.quantization.corrections.transforms import Freedom, candidates
from optimizer.quantization.observing.capture import Channels
from optimizer.quantization.observing.headroom import raw_inputs
from optimizer.quantization.observing.patches import RowSampler
from optimizer.quantization.placement.place import place
from optimizer.quantization.rules.weighted import weighted_op
from optimizer.sparsity.pattern import prune_two_four
from tests.drawing import seeded
from tests.optimizer.quantization.models import HEAD_19, conv_weight, normal, normed, parse, table

RNG = seeded(3)


def run(model: ir.Model, **feed: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0]


def unet_join() -> ir.Model:
    """A skip connection whose two branches differ two hundredfold in range."""
    return parse(
        f"""{HEAD_19} g (float[1,16,8,8] x, float[16,16,1,1] u, float[16] ub, float[16,32,3,3] w) => (float[1,16,6,6] y) {{
            up = Conv(x, u, ub)
            r = Relu(up)
            skip = Tanh(x)
            c = Concat <axis=1> (r, skip)
            y = Conv(c, w)
        }}""",
        {"u": conv_weight(16, 16, 1) * 500, "ub": normal(16), "w": conv_weight(16, 32) / 20},
    )


def test_concat_branches_are_brought_together_exactly() -> None:
    x = normal(1, 16, 8, 8, scale=1.0)
    model, before = unet_join(), run(unet_join(), x=x)
    ranges = table(x=3.0, r=400.0, skip=1.0, c=400.0)
    assert not any(w.tensor == "w" for w in place(model, scheme=TENSORRT, keep_float={}, table=ranges).weights)
    result = EqualizeConcatBranches(ranges).apply(model)
    (note,) = result.values()
    assert "scaled by" in note
    np.testing.assert_allclose(run(model, x=x), before, rtol=1e-5, atol=1e-5)
    assert "Mul" not in {node.op_type for node in model.graph}, "the factor belongs in the weights before the ReLU"


def test_alike_branches_are_left_alone() -> None:
    assert EqualizeConcatBranches(table(x=3.0, r=2.0, skip=1.0, c=2.0)).apply(unet_join()) == {}


def outlier_feeds(count: int, channels: int = 32) -> list[dict[str, np.ndarray]]:
    """Activations with two channels a hundred times wider than the rest, all of them off centre."""
    width = np.ones(channels, np.float32)
    width[[3, 17]] = 60
    return [{"x": ((RNG.standard_normal((1, 64, channels)) + 1) * width).astype(np.float32)} for _ in range(count)]


def activated(op: str) -> ir.Model:
    """Channels of very different size between two convolutions that undo each other's scale."""
    spread = np.exp(normal(32, scale=1.5)).astype(np.float32)
    return parse(
        f"""{HEAD_19} g (float[4,32,6,6] x, float[32,32,1,1] w, float[32] b, float low, float high, float[16,32,1,1] v) => (float[4,16,6,6] y) {{
            a = Conv(x, w, b)
            r = {op}
            y = Conv(r, v)
        }}""",
        {
            "w": conv_weight(32, 32, 1) * spread.reshape(-1, 1, 1, 1),
            "b": normal(32) * spread,
            "v": conv_weight(16, 32, 1) / spread.reshape(1, -1, 1, 1),
            "low": np.array(0, np.float32),
            "high": np.array(6, np.float32),
        },
    )


@pytest.mark.parametrize(
    ("model", "tensor", "free"),
    [
        (normed, "n", True),
        (lambda: activated("Relu(a)"), "r", True),
        (lambda: activated("Clip(a, low, high)"), "r", True),
    ],
)
def test_equalization_is_exact_and_free_where_the_producer_takes_it(model, tensor: str, free: bool) -> None:
    shape = (1, 64, 32) if tensor == "n" else (4, 32, 6, 6)
    feeds = [{"x": normal(*shape, seed=i, scale=2.0)} for i in range(8)]
    changed, count = model(), len(list(model().graph))
    points = place(changed, scheme=TENSORRT, keep_float={}).activations
    result = EqualizeActivations([p for p in points if p.tensor == tensor], feeds).apply(changed)
    assert len(result) == 1, "this tensor gains from it"
    np.testing.assert_allclose(run(changed, **feeds[0]), run(model(), **feeds[0]), rtol=1e-3, atol=1e-3)
    assert (len(list(changed.graph)) <= count + (tensor == "n")) is free


def equalized_outliers(scheme: Scheme) -> tuple[float, str]:
    """How many dB the error is less at the reader, and what was done; the answers stay."""
    model = parse(
        f"""{HEAD_19} g (float[1,64,32] x, float[32,48] w) => (float[1,64,48] y) {{ t = Identity(x) y = MatMul(t, w) }}""",
        {"w": normal(32, 48, seed=1)},
    )
    feeds = outlier_feeds(8)
    before = run(model, **feeds[0])
    points = place(model, scheme=TENSORRT, keep_float={}).activations
    notes = EqualizeActivations(points, feeds, scheme=scheme).apply(model)
    np.testing.assert_allclose(run(model, **feeds[0]), before, rtol=1e-3, atol=1e-3)
    (note,) = notes.values() or [", 0 dB"]
    return float(note.split(", ")[-1].split(" dB")[0]), note


def test_equalization_lowers_the_error_of_outlier_channels() -> None:
    gain, _ = equalized_outliers(TENSORRT)
    assert gain > 6


def test_equalization_judges_by_the_numbers_of_the_scheme() -> None:
    """FP8 rounds every magnitude alike, so that wide channels cost the others nothing. Codes of few bits make weights
    that took an outlier in worse than the outlier was.
    """
    in_int8, _ = equalized_outliers(TENSORRT)
    in_fp8, _ = equalized_outliers(FP8)
    assert in_fp8 < in_int8 - 6
    coarse = replace(TENSORRT, weights=WeightScheme(INT8.up_to(7)))
    assert equalized_outliers(coarse)[0] < in_int8 - 3


def test_a_shift_never_crosses_a_padded_convolution() -> None:
    model = activated("Clip(a, low, high)")
    model.graph[2].attributes["pads"] = ir.AttrInt64s("pads", [1, 1, 1, 1])
    points = [p for p in place(model, scheme=TENSORRT, keep_float={}).activations if p.tensor == "r"]
    feeds = [{"x": normal(4, 32, 6, 6, seed=i, scale=2.0)} for i in range(4)]
    assert not any("shifted" in note for note in EqualizeActivations(points, feeds).apply(model).values())


def test_ops_that_read_a_tensor_alike_share_their_rows() -> None:
    """Query and key: the same numbers are captured and held once. A narrower window of the same tensor has its own."""
    model = parse(
        f"""{HEAD_19} g (float[1,64,48] x, float[48,32] w, float[48,32] v, float[32,64,1] a, float[32,64,3] b) => (float[1,64,32] y, float[1,32,48] c, float[1,32,46] d) {{
            t = Tanh(x)
            q = MatMul(t, w)
            k = MatMul(t, v)
            y = Mul(q, k)
            c = Conv(t, a)
            d = Conv(t, b)
        }}""",
        {"w": normal(48, 32), "v": normal(48, 32), "a": normal(32, 64, 1), "b": normal(32, 64, 3)},
    )
    ops = {str(node.outputs[0].name): op for node in model.graph if isinstance(op := weighted_op(node), WeightedOp)}
    feeds = [{"x": normal(1, 64, 48, seed=i, scale=2.0)} for i in range(3)]
    (chunk,) = InputRows(model, feeds).of(list(ops.values()))
    together = {str(op.node.outputs[0].name): rows for op, rows in chunk}
    assert set(together) == {"q", "k", "c", "d"}
    assert together["q"].values is together["k"].values
    for name, op in ops.items():
        ((_, alone),) = next(InputRows(model, feeds).of([op]))
        np.testing.assert_array_equal(together[name].values, alone.values)
    everything = InputRows(model, feeds)
    everything.keep(list(ops.values()))
    ((_, kept), *_) = next(everything.of([ops["k"]]))
    assert kept.values is next(everything.of([ops["q"]]))[0][1].values
    freed = weakref.ref(kept.values)
    expected = kept.values.copy()
    del kept
    everything.release()
    assert freed() is None
    ((_, again),) = next(everything.of([ops["k"]]))
    np.testing.assert_array_equal(again.values, expected)


def test_patches_times_weight_are_the_convolution() -> None:
    model = parse(
        f"{HEAD_19} g (float[2,8,9,7] x, float[16,4,3,2] w) => (float[2,16,5,8] y) {{ y = Conv <group=2, strides=[2,1], pads=[1,1,1,1], dilations=[1,1]> (x, w) }}",
        {"w": normal(16, 4, 3, 2)},
    )
    op = weighted_op(model.graph[0])
    assert isinstance(op, WeightedOp)
    x = normal(2, 8, 9, 7, scale=1.0)
    expected = run(model, x=x)
    rows = RowSampler([{"x": x}], 0).rows(op, x, 10**6, 0)
    weight = op.tensor.numpy().reshape(2, 8, -1)
    got = np.concatenate([rows[:, g] @ weight[g].T for g in range(2)], axis=1)
    np.testing.assert_allclose(got, np.moveaxis(expected, 1, -1).reshape(len(got), 16), rtol=1e-4, atol=1e-5)


def test_gptq_beats_rounding_on_correlated_inputs() -> None:
    rows = RNG.standard_normal((512, 8)) @ RNG.standard_normal((8, 48)) + 0.1 * RNG.standard_normal((512, 48))
    rows = rows.astype(np.float32)
    weight = normal(16, 48)
    scale = mse_scales(weight, 0) * 8  # coarse codes, so that the effect is plain
    hessian = rows.T @ rows / len(rows) + 0.01 * np.eye(48, dtype=np.float32)

    def error(codes: np.ndarray) -> float:
        return float(np.square(rows @ (codes * scale[:, None] - weight).T).sum())

    assert error(gptq(weight[None], hessian[None], scale[None])[0]) < 0.5 * error(quantize(weight, 0, scale))


def test_gptq_gives_the_codes_of_the_inverse_hessian() -> None:
    """Frantar et al. 2023, algorithm 1, column by column in order of falling curvature."""
    weight, rows = normal(6, 40, seed=3).astype(np.float64), normal(300, 40, seed=4) @ normal(40, 40, seed=5)
    hessian = (rows.T @ rows / 300 + 0.5 * np.eye(40)).astype(np.float64)
    scale = np.full(6, 0.1)
    order = np.argsort(-np.diag(hessian))
    factor = np.linalg.cholesky(np.linalg.inv(hessian[order][:, order])).T
    left, codes = weight[:, order].copy(), np.empty((6, 40))
    for column in range(40):
        codes[:, column] = np.clip(np.rint(left[:, column] / scale), -127, 127)
        error = (left[:, column] - codes[:, column] * scale) / factor[column, column]
        left[:, column:] -= error[:, None] * factor[column, column:]
    found = gptq(*(x[None].astype(np.float32) for x in (weight, hessian, scale)))[0]
    assert (found[:, order] == codes).mean() > 0.99  # but for ties


def test_gptq_solves_each_group_as_if_it_were_alone() -> None:
    weight, rows = normal(5, 4, 150, seed=1), normal(5, 400, 150, seed=2)
    hessian = rows.swapaxes(1, 2) @ rows / 400 + 0.1 * np.eye(150, dtype=np.float32)
    scale = np.full((5, 4), 0.05, np.float32)
    alone = [gptq(*(x[g : g + 1] for x in (weight, hessian, scale))) for g in range(5)]
    np.testing.assert_array_equal(gptq(weight, hessian, scale), np.concatenate(alone))


def test_gptq_removes_the_mean_error() -> None:
    model = activated("Relu(a)")
    feeds = [{"x": normal(4, 32, 6, 6, seed=i, scale=2.0)} for i in range(8)]
    ranges = table(x=8.0, r=2.0)  # clips: the mean of what comes out is wrong
    placement = place(model, scheme=TENSORRT, keep_float={}, table=ranges)
    variant = Variant(placement, placement.quantizers(model, ranges))
    found = {r.node: r for r in round_weights(InputRows(model, feeds), {"": variant}, feeds, WeightScales())[""]}
    bias = found["y"].weight.bias
    assert bias is not None and np.abs(bias).max() > 0.01
    assert found["y"].weight.codes.shape == (16, 32, 1, 1)
    feeds[0]["x"] = np.full_like(feeds[0]["x"], 1e30)  # its squares are no float32 numbers
    with np.errstate(all="raise"):
        left = round_weights(InputRows(model, feeds), {"": variant}, feeds, WeightScales())[""]
    assert not left


def test_sensitivity_names_the_node_that_hurts_and_the_budget_is_kept() -> None:
    model = activated("Relu(a)")
    feeds = [{"x": normal(4, 32, 6, 6, scale=2.0)}]
    ranges = table(x=8.0, r=0.05)  # the second conv's input is clipped to nothing
    placement = place(model, scheme=TENSORRT, keep_float={}, table=ranges)
    found = {item.node: item.noise for item in measure(model, placement, ranges, feeds)}
    assert found["y"] > 100 * found["a"]
    items = [Sensitivity(node, noise) for node, noise in found.items()]
    assert set(best_fallback(items, {"a": 1024, "y": 512}, budget=600)) == {"y"}
    assert not best_fallback(items, {"a": 1024, "y": 512}, budget=500)


def test_fallback_is_the_best_set_and_not_the_greedy_one() -> None:
    items = [Sensitivity("big", 6.0), Sensitivity("small", 1.2), Sensitivity("other", 5.0)]
    costs = {"big": 80, "small": 10, "other": 85}
    assert set(best_fallback(items, costs, budget=91)) == {"big", "small"}
    assert set(best_fallback(items, {"big": 80, "small": 20, "other": 85}, budget=90)) == {"big"}


def test_a_pruned_weight_stays_pruned() -> None:
    rng = np.random.default_rng(0)
    weight = prune_two_four(rng.standard_normal((8, 32)).astype(np.float32), 1)[None]
    rows = rng.standard_normal((256, 32)).astype(np.float32)
    hessian = rows.T @ rows / 256 + 0.1 * np.eye(32, dtype=np.float32)[None]
    target = weight + 0.01 * rng.standard_normal(weight.shape).astype(np.float32)
    scale = np.full((1, 8), 0.02, np.float32)
    assert not is_two_four(gptq(target, hessian, scale)[0], 1)
    assert is_two_four(gptq(target, hessian, scale, kept=weight != 0)[0], 1)


def relu6_before_depthwise() -> ir.Model:
    """A ReLU6 whose channels end anywhere between 0.1 and 6, read by a depthwise convolution."""
    return parse(
        f"""{HEAD_19} g (float[1,8,10,10] x, float[32,8,1,1] w, float low, float high, float[32,1,3,3] v) => (float[1,32,8,8] y) {{
            a = Conv(x, w)
            r = Clip(a, low, high)
            y = Conv <group=32> (r, v)
        }}""",
        {
            "w": normal(32, 8, 1, 1) * np.geomspace(0.02, 4, 32, dtype=np.float32)[:, None, None, None],
            "low": np.float32(0),
            "high": np.float32(6),
            "v": normal(32, 1, 3, 3),
        },
    )


def test_channels_are_equalized_under_relu6() -> None:
    model = relu6_before_depthwise()
    feeds = [{"x": normal(1, 8, 10, 10, seed=i, scale=1.0)} for i in range(16)]
    points = [p for p in place(model, scheme=TENSORRT, keep_float={}).activations if p.tensor == "r"]
    before = [run(model, **feed) for feed in feeds]
    (note,) = EqualizeActivations(points, feeds).apply(model).values()
    assert float(note.split(", ")[-1].split(" dB")[0]) > 5
    for feed, wanted in zip(feeds, before, strict=True):
        np.testing.assert_allclose(run(model, **feed), wanted, rtol=1e-3, atol=1e-3)
    assert not np.isclose(run(model, x=100 * feeds[0]["x"]), run(relu6_before_depthwise(), x=100 * feeds[0]["x"])).all()


def test_one_massive_channel_is_brought_down_and_the_others_are_left() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(512, 64)).astype(np.float32)
    rows[::50, 7] = 200
    seen = Channels(rows, rows.min(axis=0), rows.max(axis=0))
    found = list(candidates(seen, [normal(64, 32)], Freedom(scale=True), INT8))
    narrowest = [t for t in found if 0 < (t.scale != 1).sum() <= 2]
    assert narrowest and all(t.scale[7] < 0.1 for t in narrowest)


def test_channels_a_million_apart_are_brought_together() -> None:
    rng = np.random.default_rng(0)
    apart = np.logspace(-3, 3, 64).astype(np.float32)
    rows = rng.normal(size=(512, 64)).astype(np.float32) * apart
    seen = Channels(rows, rows.min(axis=0), rows.max(axis=0))
    found = list(candidates(seen, [normal(64, 32) / apart[:, None]], Freedom(scale=True), INT8))
    reaches = [np.abs(rows * t.scale).max(axis=0) for t in found]
    assert min(reach.max() / reach.min() for reach in reaches) < 5


COLUMNS = np.logspace(-2, 3, 32).astype(np.float32)
TABLE = f"""{HEAD_19} g (float[N,32] x, float[32,64] w) => (float[N,64] y) {{
    y = MatMul(x, w)
}}"""


def of_columns(rows: int, apart: np.ndarray) -> tuple[ir.Model, list[dict[str, np.ndarray]]]:
    """A product of a table's columns, ``apart`` as large, and that many samples of one row each."""
    rng = np.random.default_rng(5)
    model = parse(TABLE, {"w": (rng.normal(size=(32, 64)) / apart[:, None]).astype(np.float32)})
    return model, [{"x": (rng.normal(size=(1, 32)) * apart).astype(np.float32)} for _ in range(rows)]


def test_columns_of_a_table_in_different_units_are_brought_together_exactly() -> None:
    model, feeds = of_columns(32, COLUMNS)
    before = [run(model, **feed) for feed in feeds]
    notes = EqualizeActivations(place(model, scheme=TENSORRT, keep_float={}).activations, feeds).apply(model)
    assert "scaled per channel" in notes["x"]
    assert model.graph.inputs[0].name == "x"
    for feed, wanted in zip(feeds, before, strict=True):
        np.testing.assert_allclose(run(model, **feed), wanted, rtol=1e-3, atol=1e-3)
    assert raw_inputs(model, ["x/scale_channels/out"])["x/scale_channels/out"].name == "x"


def test_raw_channels_of_a_convolution_are_scaled_along_their_own_axis() -> None:
    rng = np.random.default_rng(6)
    apart = np.array([5e4, 280, 1e-3, 0.5], np.float32)[:, None, None]
    text = f"{HEAD_19} g (float[1,4,8,8] x, float[16,4,3,3] w) => (float[1,16,6,6] y) {{ y = Conv(x, w) }}"
    model = parse(text, {"w": (rng.normal(size=(16, 4, 3, 3)) / apart).astype(np.float32)})
    feeds = [{"x": (rng.normal(size=(1, 4, 8, 8)) * apart).astype(np.float32)} for _ in range(8)]
    before = [run(model, **feed) for feed in feeds]
    assert "x" in EqualizeActivations(place(model, scheme=TENSORRT, keep_float={}).activations, feeds).apply(model)
    for feed, wanted in zip(feeds, before, strict=True):
        np.testing.assert_allclose(run(model, **feed), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("rows", "apart"), [(32, np.logspace(0, 0.3, 32)), (8, COLUMNS)])
def test_raw_inputs_stay_where_little_is_gained_or_seen(rows: int, apart: np.ndarray) -> None:
    model, feeds = of_columns(rows, apart)
    assert not EqualizeActivations(place(model, scheme=TENSORRT, keep_float={}).activations, feeds).apply(model)
