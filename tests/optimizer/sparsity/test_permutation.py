"""Channels reordered: the search finds what brute force finds, and any order leaves the graph as it was."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.quantization.judging.rewriting import Step, rewritten
from optimizer.sparsity import permute
from optimizer.sparsity.eligible import survey
from optimizer.sparsity.permutation import best_order
from optimizer.sparsity.permute import ChannelSet, PermuteChannels, channel_sets
from tests.optimizer.passes.models import drawn

WEIGHTS = {
    "first": (32, 3, 1, 1), "w": (16, 32, 3, 3), "u": (32, 32, 1, 1), "dw": (32, 1, 3, 3), "slope": (32, 1, 1),
    "gain": (32,), "bias": (32,), "wide": (64,), "up": (32, 64), "down": (64, 32), "table": (20, 32),
}  # fmt: skip
IMAGES = "float[N, 3, 8, 8] x"


def graph(body: str, inputs: str = IMAGES, outputs: str = "float[N, 16, 8, 8] y") -> ir.Model:
    """``body`` with seeded weights for the names of ``WEIGHTS`` in it."""
    words = set(re.findall(r"\w+", body))
    declared = [f"float{list(shape)} {name}" for name, shape in WEIGHTS.items() if name in words]
    text = f"g ({', '.join([inputs, *declared])}) => ({outputs}) {{ {body} }}"
    rng = np.random.default_rng(0)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        array = (rng.standard_normal(shape) / 4).astype(np.float32)
        return np.abs(array) if name == "gain" else array

    return drawn(text, draw, but=("x", "i"))


def weights_of(model: ir.Model) -> dict[str, np.ndarray]:
    return {str(k): v.const_value.numpy().copy() for k, v in model.graph.initializers.items() if v.const_value}


def channels_read_by(model: ir.Model, node: str) -> ChannelSet:
    places = channel_sets(model, survey(model))
    return next(p for p in places if any(str(n.name) == node for w in p.prunes for n in w.nodes))


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def image() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)}


START = "a = Conv(x, first) r = Relu(a)"
END = "[end] y = Conv<pads = [1, 1, 1, 1]>(n, w)"
FREE = {
    "activation": "n = LeakyRelu(r)",
    "residual": "c = Conv(r, u) n = Add(c, r)",
    "batch norm": "n = BatchNormalization(r, gain, bias, bias, gain)",
    "depthwise": "n = Conv<group = 32, pads = [1, 1, 1, 1]>(r, dw, bias)",
    "slope": "n = PRelu(a, slope)",
    "squeeze and excite": "p = GlobalAveragePool(r) c = Conv(p, u) f = Sigmoid(c) n = Mul(r, f)",
    "average over channels": "one = Constant<value_ints = [1]>() p = ReduceMean(r, one) n = Mul(r, p)",
    "mean over nothing": "n = ReduceMean<noop_with_empty_axes = 1>(r)",
    "pool": "n = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(r)",
    "concat of places": "c = Concat<axis = 2>(r, r) n = MaxPool<kernel_shape = [2, 1], strides = [2, 1]>(c)",
    "transposed convolution": "n = ConvTranspose(r, u, bias)",
    "pad": "wide8 = Constant<value_ints = [0, 0, 1, 1, 0, 0, 1, 1]>() p = Pad(r, wide8) n = MaxPool<kernel_shape = [3, 3]>(p)",
    "there and back": "t = Transpose<perm = [0, 2, 3, 1]>(r) m = Mul(t, bias) n = Transpose<perm = [0, 3, 1, 2]>(m)",
}
FIXED = {
    "split": ("e, n = Split<axis = 1, num_outputs = 2>(c)", "Split"),
    "operator without a rule": ("n = LRN<size = 3>(r)", "LRN"),
    "split of channels": (
        "s5 = Constant<value_ints = [0, 4, 8, 8, 8]>() p = Reshape(r, s5) s4 = Constant<value_ints = [0, 32, 8, 8]>() n = Reshape(p, s4)",
        "Reshape",
    ),
    "pad of channels": (
        "wide8 = Constant<value_ints = [0, 2, 0, 0, 0, 2, 0, 0]>() p = Pad(r, wide8) one = Constant<value_ints = [2]>() "
        "e = Constant<value_ints = [34]>() a1 = Constant<value_ints = [1]>() n = Slice(p, one, e, a1)",
        "Slice",
    ),
    "output": ("n = Relu(r) o = Identity(n)", "an output"),
}


@pytest.mark.parametrize("name", FREE)
def test_any_order_of_free_channels_leaves_the_graph_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = graph(f"{START} {FREE[name]} {END}")
    before, weights = run(model, image()), weights_of(model)
    assert channels_read_by(model, "end").fixed == ""
    shuffled = np.random.default_rng(2).permutation
    monkeypatch.setattr(permute, "best_order", lambda importance: (shuffled(importance.shape[1]), 1.0, 0.5))
    assert PermuteChannels().apply(model)
    for expected, found in zip(before, run(model, image()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert not np.array_equal(weights_of(model)["w"], weights["w"])


@pytest.mark.parametrize("name", FIXED)
def test_where_the_order_counts_channels_stay_and_the_reason_is_told(name: str) -> None:
    body, why = FIXED[name]
    joined = "c = Concat<axis = 1>(r, r)" if name == "split" else ""
    outputs = "float[N, 16, 8, 8] y" + (", float[N, 32, 8, 8] o" if name == "output" else "")
    model = graph(f"{START} {joined} {body} {END}", outputs=outputs)
    assert why in channels_read_by(model, "end").fixed
    weights = weights_of(model)
    PermuteChannels().apply(model)
    assert np.array_equal(weights_of(model)["w"], weights["w"])


def test_a_transformers_hidden_channels_are_free_and_its_heads_are_not() -> None:
    body = """h = Gather(table, i) n = LayerNormalization(h, gain, bias) c = MatMul(n, up) d = Add(c, wide) f = Gelu(d)
        [into] e = MatMul(f, down) s4 = Constant<value_ints = [0, 0, 4, 8]>() heads = Reshape(e, s4)
        s3 = Constant<value_ints = [0, 0, 32]>() back = Reshape(heads, s3) [out] p = MatMul(back, up)
        last = Constant<value_ints = [2]>() y = ReduceMean(p, last)"""
    model = graph(body, "int64[N, 5] i", "float[N, 5, 1] y")
    assert channels_read_by(model, "into").fixed == "" and "Reshape" in channels_read_by(model, "out").fixed
    feed = {"i": np.arange(10).reshape(2, 5)}
    before = run(model, feed)
    assert PermuteChannels().apply(model)
    np.testing.assert_allclose(run(model, feed)[0], before[0], rtol=1e-5, atol=1e-5)


def test_what_is_two_four_as_it_comes_keeps_its_order() -> None:
    model = graph(
        f"{START} c = Conv(r, u) d = Relu(c) [it] q = Conv(r, v) n = Add(d, q) {END}".replace("(r, v)", "(r, u)")
    )
    weight = model.graph.initializers["u"].const_value
    assert weight is not None
    kept = weight.numpy().copy()
    kept[:, ::2] = 0
    model.graph.initializers["u"].const_value = ir.tensor(kept, name="u")
    assert next(w for w in survey(model) if any(n.name == "it" for n in w.nodes)).given
    weights = weights_of(model)
    PermuteChannels().apply(model)
    assert np.array_equal(weights_of(model)["u"][:, ::2], np.zeros((32, 16, 1, 1)))
    assert np.array_equal(np.sort(weights_of(model)["u"], axis=0), np.sort(weights["u"], axis=0))


def test_an_order_that_is_not_exact_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = graph(f"{START} {FREE['batch norm']} {END}")
    right = channel_sets
    wrong = lambda *given: [replace(place, constants=place.constants[:-1]) for place in right(*given)]  # noqa: E731
    monkeypatch.setattr(permute, "channel_sets", wrong)
    changed, notes = rewritten(model, [Step("order of channels", lambda _: PermuteChannels())], [image()])
    assert changed is model and any("not exact" in note for note in notes)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_random_graphs_stay_what_they_were(seed: int) -> None:
    """Blocks in a row, each of 32 channels, in any order, every free set reordered."""
    rng = np.random.default_rng(seed)
    body, last = [START], "r"
    for index in range(int(rng.integers(1, 5))):
        block = FREE[str(rng.choice([name for name in FREE if name not in ("slope", "transposed convolution")]))]
        words = {"r": last} | {name: f"{name}_{index}" for name in ("n", "c", "p", "f", "one", "t", "m", "wide8")}
        for name, renamed in words.items():
            block = re.sub(rf"\b{name}\b(?! =\s*\[)", renamed, block)
        body.append(block)
        last = f"n_{index}"
    model = graph(f"{' '.join(body)} {END.replace('(n,', f'({last},')}")
    before = run(model, image())
    PermuteChannels().apply(model)
    for expected, found in zip(before, run(model, image()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_of_eight_channels_most_of_what_an_order_can_save_is_found() -> None:
    """Beside all 35 ways to part eight channels into two fours: an exchange of two may stop short of the best."""
    saved = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        importance = np.square(rng.standard_normal((12, 8)) * np.exp(rng.standard_normal(8))).astype(np.float32)
        order, before, after = best_order(importance)
        assert sorted(order) == list(range(8)) and after <= before
        lost = {first: _lost(importance, first) for first in combinations(range(8), 4)}
        assert _lost(importance, tuple(order[:4])) == pytest.approx(after, abs=1e-4)
        saved.append((before - after) / max(before - min(lost.values()), 1e-6))
    assert np.median(saved) > 0.95 and np.mean(saved) > 0.8


def _lost(importance: np.ndarray, first: tuple[int, ...]) -> float:
    fours = [list(first), [i for i in range(8) if i not in first]]
    return 1 - float(sum(np.sort(importance[:, four], axis=1)[:, 2:].sum() for four in fours) / importance.sum())
