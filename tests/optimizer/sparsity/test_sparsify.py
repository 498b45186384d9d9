"""Layers solved for beat pruning by magnitude at the model's outputs; what is claimed is looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from engines.targets.target import resolve_targets
from graphs.errors import BadInput
from graphs.reading.two_four import is_two_four, two_four_products, weight_of
from graphs.storage.saving import save_model
from optimizer.equivalence import Answers
from optimizer.quantization.judging.judge import Judge
from optimizer.settings.options import Sparsity
from optimizer.sparsity import reconstruct, stored
from optimizer.sparsity.claims import confirmed
from optimizer.sparsity.eligible import survey
from optimizer.sparsity.magnitude import PruneTwoFour
from optimizer.sparsity.pattern import prune_two_four
from optimizer.sparsity.record import NodeSparsity
from optimizer.sparsity.restore import restored
from optimizer.sparsity.sparsify import How, Sparsified, sparsify
from optimizer.sparsity.targets import check_sparsity
from tests.optimizer.passes.models import drawn

NET = """g (float[N, 3, 8, 8] x, float[16, 3, 3, 3] f, float[32, 16, 3, 3] w, float[32] b, float[32, 32, 1, 1] u,
    float[32, 16] m, float[16, 16] k, float[16] c) => (float[N, 16] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, f) r = Relu(a) [one] d = Conv<pads = [1, 1, 1, 1]>(r, w, b) e = Relu(d)
    [two] h = Conv(e, u) s = Add(h, e) p = GlobalAveragePool(s) q = Flatten(p) [three] t = MatMul(q, m)
    v = Tanh(t) [four] z = Gemm(v, k, c) y = Relu(z) }"""


def net() -> ir.Model:
    rng = np.random.default_rng(0)

    def draw(_: str, shape: tuple[int, ...]) -> np.ndarray:
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1) if len(shape) > 2 else shape[0])
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    return drawn(NET, draw)


def images(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((6, 3, 8, 8))
    mixed = np.tensordot(rng.standard_normal((count, 6)), basis, 1) + 0.2 * rng.standard_normal((count, 3, 8, 8))
    return [{"x": image[None].astype(np.float32)} for image in mixed]


SAMPLES = images(96, 1)
"""More are drawn from the same few directions than pruning can get wrong."""


@pytest.fixture(scope="module")
def made() -> Sparsified:
    return sparsify(net(), SAMPLES[:64], How(macs=400_000))


def node(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def noise(model: ir.Model) -> float:
    found, notes = Judge(net()).noise_of(model, SAMPLES[64:])
    assert found is not None, notes
    return found


def test_layers_solved_for_lose_less_at_the_outputs(made: Sparsified) -> None:
    by_magnitude = net()
    PruneTwoFour().apply(by_magnitude)
    assert noise(made.model) < 0.2 * noise(by_magnitude)
    assert [name for name, found in made.nodes.items() if found.sparse] == ["one", "two", "three", "four"]
    for name in ("one", "two", "three", "four"):
        found = made.nodes[name]
        assert found.error is not None and found.by_magnitude is not None and found.error < found.by_magnitude
        weight = node(made.model, name).inputs[1]
        assert weight is not None and weight.const_value is not None
        assert is_two_four(weight.const_value.numpy(), 1 if name in ("one", "two") else 0)


def test_reordering_alone_changes_no_answer(made: Sparsified) -> None:
    assert Answers.of(net(), SAMPLES[:2]).compare(made.dense).max_abs < 1e-5
    assert any("channels reordered" in note for note in made.notes)


def test_what_is_left_out_is_left_out() -> None:
    model = net()
    plain = sparsify(model, SAMPLES[:8], How(macs=400_000, permute=False, solve=False))
    assert plain.dense is model
    weight = node(plain.model, "one").inputs[1]
    original = model.graph.initializers["w"].const_value
    assert weight is not None and weight.const_value is not None and original is not None
    np.testing.assert_array_equal(weight.const_value.numpy(), prune_two_four(original.numpy(), 1))


def test_a_model_that_is_two_four_is_kept_as_it_is(made: Sparsified) -> None:
    again = sparsify(made.model, SAMPLES[:8], How(macs=400_000))
    assert again.model is made.model
    assert all(found.reason == "2:4 in the model as given" for found in again.nodes.values() if found.sparse)
    assert sum(weight.given for weight in survey(made.model)) == 4


def test_few_samples_are_not_called_kept_back() -> None:
    said = [sparsify(net(), SAMPLES[:count], How(macs=400_000, permute=False)).notes for count in (6, 9)]
    assert any("on 6 samples that layers were solved from" in note for note in said[0])
    assert any("on 1 samples kept back" in note for note in said[1])


def test_inputs_that_are_not_finite_leave_a_note_and_magnitude(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENGINEWRIGHT_STRICT", raising=False)
    broken = [{"x": np.full((1, 3, 8, 8), np.nan, np.float32)}] * 4
    found = sparsify(net(), broken, How(macs=400_000, permute=False))
    assert any("not finite" in note for note in found.notes)
    assert all(weight.given for weight in survey(found.model) if not weight.reason)


def test_layers_are_made_dense_again_with_their_biases(made: Sparsified) -> None:
    names = ["one", "three", "two", "four"]
    back = restored(made.model, made.dense, names)
    assert Answers.of(made.dense, SAMPLES[:2]).compare(back).max_abs < 1e-6
    some = restored(made.model, made.dense, ["one"])
    assert [weight.given for weight in survey(some) if not weight.reason] == [False, True, True, True]


CLAIM = {"n": NodeSparsity("2:4", "asked for")}


def typed(body: str, codes: np.ndarray) -> ir.Model:
    """A product called ``n`` whose weight comes from int8 ``codes``."""
    text = f"g (float[N, 8] x, int8[8, 8] q, float[1] s, int8[1] z) => (float[N, 8] y) {{ {body} }}"
    values = {"q": codes.astype(np.int8), "s": np.ones(1, np.float32), "z": np.array([3], np.int8)}
    return drawn(text, lambda name, _: values[name])


def test_a_claim_is_followed_to_the_codes_and_along_the_axis_that_is_summed_over() -> None:
    sparse = np.zeros((8, 8))
    sparse[::2] = 1  # 2:4 down the rows, and not along them
    straight = typed("w = DequantizeLinear(q, s) [n] y = MatMul(x, w)", sparse)
    assert confirmed(CLAIM, straight)["n"].sparse
    turned = "w = DequantizeLinear(q, s) t = Transpose<perm = [1, 0]>(w) [n] y = MatMul(x, t)"
    assert not confirmed(CLAIM, typed(turned, sparse))["n"].sparse
    assert confirmed(CLAIM, typed(turned, sparse.T))["n"].sparse
    assert confirmed(CLAIM, typed("w = DequantizeLinear(q, s) [n] y = Gemm<transB = 1>(x, w)", sparse.T))["n"].sparse


def test_a_zero_point_counts() -> None:
    sparse = np.full((8, 8), 3)
    sparse[::2] = 9
    body = "w = DequantizeLinear(q, s, z) [n] y = MatMul(x, w)"
    assert confirmed(CLAIM, typed(body, sparse))["n"].sparse
    lost = confirmed(CLAIM, typed(body, sparse - 3))["n"]
    assert not lost.sparse and "not 2:4 any more" in lost.reason


def test_what_cannot_be_followed_is_not_claimed() -> None:
    computed = typed("w = DequantizeLinear(q, s) t = Relu(w) [n] y = MatMul(x, t)", np.zeros((8, 8)))
    assert weight_of(node(computed, "n")) is None
    assert "nothing is claimed" in confirmed(CLAIM, computed)["n"].reason
    assert "no such product" in confirmed({"gone": CLAIM["n"]}, computed)["gone"].reason
    dense = {"n": replace(CLAIM["n"], pattern="dense")}
    assert confirmed(dense, computed) == dense


def test_targets_that_gain_nothing_are_told_or_refused() -> None:
    targets = resolve_targets(("t4", "a100", "cpu"), None)
    warnings = check_sparsity(Sparsity.TWO_FOUR, targets)
    assert len(warnings) == 2 and "SM75" in warnings[0] and "sparse kernels" in warnings[1]
    assert check_sparsity(Sparsity.NONE, targets) == [] == check_sparsity(Sparsity.REQUIRED, targets[1:2])
    with pytest.raises(BadInput, match=r"NVIDIA T4 .* no sparse tensor cores") as refused:
        check_sparsity(Sparsity.REQUIRED, targets)
    assert "leave t4, cpu out" in str(refused.value.fix)


def test_attention_and_vectors_are_told_of_and_left_alone() -> None:
    text = """g (float[N, 4, 32] x, float[32, 32] f, float[32, 32] w, float[32] v) => (float[N, 4] y) {
        a = MatMul(x, f) q = MatMul(a, w) t = Transpose<perm = [0, 2, 1]>(q) [scores] s = MatMul(q, t)
        p = Softmax(s) h = MatMul(p, q) [vector] y = MatMul(h, v) }"""
    rng = np.random.default_rng(0)
    model = drawn(text, lambda _, shape: rng.standard_normal(shape).astype(np.float32) / 6)
    feeds = [{"x": rng.standard_normal((1, 4, 32)).astype(np.float32)} for _ in range(16)]
    found = sparsify(model, feeds, How(macs=10_000)).nodes
    assert "no constant weight" in found["scores"].reason and "vector" in found["vector"].reason
    assert sum(node.sparse for node in found.values()) == 1


def test_where_full_solutions_take_too_long_layers_are_gone_through_once(
    made: Sparsified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct, "SOLVED_WORK", 4e8)
    quick = sparsify(net(), SAMPLES[:64], How(macs=400_000))
    assert all(found.error is not None for found in quick.nodes.values() if found.sparse)
    by_magnitude = net()
    PruneTwoFour().apply(by_magnitude)
    assert noise(made.model) < noise(quick.model) < noise(by_magnitude)
    monkeypatch.setattr(reconstruct, "SOLVED_WORK", 0.0)
    none = sparsify(net(), SAMPLES[:64], How(macs=400_000))
    assert any("the work set aside for reconstruction is used up" in note for note in none.notes)


def test_weights_of_a_large_model_wait_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SINGLE_FILE_BYTES", 1)
    weights = stored.SolvedWeights(net(), tmp_path / "solved")
    found = sparsify(net(), SAMPLES[:16], How(macs=400_000, store=weights.keep))
    assert len(list((tmp_path / "solved").iterdir())) == 4
    save_model(found.model, tmp_path / "model.onnx")
    weights.clear()
    assert not (tmp_path / "solved").exists()
    assert len(two_four_products(ir.load(tmp_path / "model.onnx"))) == 4
