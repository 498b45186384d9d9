"""A model prepared by what preparing its predecessor decided, and what tells that this no longer fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from engines.engine import Feed
from optimizer.precision import Dtype
from optimizer.quantization import again
from optimizer.quantization.again import Known, prepare_again
from optimizer.quantization.choices import ChannelTransform, Rewrites
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT, Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.judging.judge import Judge
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import (
    TWO_CONVOLUTIONS,
    TWO_CONVOLUTIONS_COSTS,
    normal,
    parse,
    two_convolutions_weights,
)

FEEDS = [{"x": normal(1, 8, 12, 12, seed=seed, scale=1.0)} for seed in range(48)]


def net(noise: float = 0.0, wide: float = 1.0) -> ir.Model:
    """``noise`` is a part of each weight's spread, ``wide`` a factor of the first op's results in two channels."""
    rng = np.random.default_rng(7)
    weights = two_convolutions_weights()
    weights["w1"][:2] *= 30
    weights = {n: (w + noise * w.std() * rng.standard_normal(w.shape)).astype(np.float32) for n, w in weights.items()}
    weights["w1"][:2] *= wide
    return parse(TWO_CONVOLUTIONS, weights)


def calibrator(feeds: list[Feed] | None = None) -> Calibrator:
    return Calibrator(lambda: feeds or FEEDS, False, ("mse", "minmax"), model_digest="new")


def before(scheme: Scheme) -> tuple[QuantizeSettings, Prepared, Known]:
    settings = QuantizeSettings(scheme=scheme, costs=TWO_CONVOLUTIONS_COSTS)
    found = prepare(net(), calibrator(), settings, lambda _: None)
    made = found.quantized(Allowance())
    assert made.choices is not None
    return settings, found, Known("old.optimized", made.plan, made.table, made.choices)


@pytest.mark.parametrize("scheme", (TENSORRT, ONNXRUNTIME), ids=lambda scheme: scheme.name)
def test_the_same_weights_give_the_same_graph(scheme: Scheme) -> None:
    settings, fresh, known = before(scheme)
    found = prepare_again(net(), calibrator(), settings, known).prepared
    assert found is not None and found.again.startswith(f"{len(known.table.tensors)} ranges within 25 %")
    mine, theirs = found.quantized(Allowance()), fresh.quantized(Allowance())
    assert {n: p.dtype for n, p in mine.plan.nodes.items()} == {n: p.dtype for n, p in theirs.plan.nodes.items()}
    assert mine.table.tensors == theirs.table.tensors and mine.table.model_digest == "new"
    assert mine.choices == theirs.choices
    ours, others = mine.model.graph.initializers, theirs.model.graph.initializers
    assert ours.keys() == others.keys()
    for name, value in ours.items():
        assert np.array_equal(value.const_value.numpy(), others[name].const_value.numpy())  # type: ignore[union-attr]


def test_channels_are_scaled_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _, known = before(TENSORRT)
    assert known.choices.rewrites.channels  # two wide channels were brought down
    found = prepare_again(net(noise=0.01), calibrator(), settings, known).prepared
    assert found is not None and any("as before" in note for note in found.notes)
    assert found.quantized(Allowance()).choices.rewrites == known.choices.rewrites  # type: ignore[union-attr]


def test_what_stayed_in_high_precision_stays_for_its_reason() -> None:
    settings, _, known = before(TENSORRT)
    node = replace(known.plan.nodes["y"], dtype=Dtype.FP16, reason="measured: causes 99% of the int8 error")
    known = replace(known, plan=replace(known.plan, nodes={**known.plan.nodes, "y": node}))
    found = prepare_again(net(), calibrator(), settings, known).prepared
    assert found is not None
    plan = found.quantized(Allowance()).plan.nodes
    assert not plan["y"].dtype.quantized and plan["y"].reason == node.reason and plan["a"].dtype is Dtype.INT8


@pytest.mark.parametrize("wide", (1.6, 0.3))
def test_ranges_that_moved_are_told(wide: float) -> None:
    settings, _, known = before(TENSORRT)
    found = prepare_again(net(wide=wide), calibrator(), settings, known)
    assert found.prepared is None and "ranges moved" in found.why and "times as far as it did" in found.why


def test_more_noise_at_the_outputs_is_told() -> None:
    settings, _, known = before(TENSORRT)
    quiet = replace(known.choices, noise=(known.choices.noise or 1.0) / (1.1 * again.NOISIER))
    found = prepare_again(net(), calibrator(), settings, replace(known, choices=quiet))
    assert found.prepared is None and found.why.startswith("the outputs have less signal to noise: before ")


def test_an_update_of_an_update_is_held_against_the_calibration() -> None:
    settings, _, known = before(TENSORRT)
    noisier = replace(known.choices, noise=(known.choices.noise or 1.0) / 1.9)
    found = prepare_again(net(), calibrator(), settings, replace(known, choices=noisier)).prepared
    assert found is not None
    made = found.quantized(Allowance()).choices
    assert made is not None and made.noise == noisier.noise


def test_noise_that_cannot_be_judged_is_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _, known = before(TENSORRT)
    monkeypatch.setattr(Judge, "noise", lambda *_: ({}, ["judging now: out of memory"]))
    found = prepare_again(net(), calibrator(), settings, known)
    assert found.prepared is None and found.why.endswith("is not known: judging now: out of memory")


def test_heavy_models_are_looked_at_on_as_many_samples_as_before() -> None:
    feeds = [*FEEDS[:-1], {"x": 2 * FEEDS[-1]["x"]}]  # the last of them reaches furthest
    costs = {name: 10_000 * macs for name, macs in TWO_CONVOLUTIONS_COSTS.items()}
    settings = QuantizeSettings(scheme=TENSORRT, costs=costs)
    made = prepare(net(), calibrator(feeds), settings, lambda _: None).quantized(Allowance())
    assert made.choices is not None
    known = Known("old.optimized", made.plan, made.table, made.choices)
    found = prepare_again(net(), calibrator(feeds), settings, known)
    assert found.prepared is not None, found.why


def test_an_activation_that_was_always_zero_is_told() -> None:
    settings, _, known = before(TENSORRT)
    name, kept = next(iter(known.table.tensors.items()))
    tensors = {**known.table.tensors, name: replace(kept, minimum=0.0, maximum=0.0)}
    found = prepare_again(net(), calibrator(), settings, replace(known, table=replace(known.table, tensors=tensors)))
    assert found.prepared is None and f"{name!r} was always zero" in found.why


def test_a_range_that_is_missing_is_told() -> None:
    settings, _, known = before(TENSORRT)
    name, *_ = known.table.tensors
    known = replace(
        known, table=replace(known.table, tensors={n: r for n, r in known.table.tensors.items() if n != name})
    )
    assert prepare_again(net(), calibrator(), settings, known).why == f"old.optimized has no range of {name!r}"


def test_a_rewrite_that_is_not_exact_here_is_undone() -> None:
    settings, _, known = before(TENSORRT)
    (name, kept), *_ = known.choices.rewrites.channels.items()
    broken = ChannelTransform(kept.shift, [float("nan")] * len(kept.scale))
    choices = replace(known.choices, rewrites=Rewrites({}, {name: broken}))
    found = prepare_again(net(), calibrator(), settings, replace(known, choices=choices))
    assert found.prepared is None and found.why == "old.optimized has no range of 'r'"  # of the rewritten graph
