"""What stays in high precision for the error it causes: within the budget, beyond it where that saves the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.quantization.choosing.candidates import Candidate
from optimizer.quantization.codes.scheme import ONNXRUNTIME
from optimizer.quantization.corrections.cpu_costs import ELEMENT, felt_costs
from optimizer.quantization.corrections.fallback import (
    CHEAP,
    USABLE,
    Allowance,
    cheap_fallback,
    cheap_ops,
    cheapest_fallback,
    choose_fallback,
)
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.placement.place_for_cpu import place_for_cpu
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import normal, parse

FRONT = [Sensitivity(f"dft{k}", 0.4) for k in range(4)]
BODY = [Sensitivity(f"conv{k}", 1e-4) for k in range(8)]
COSTS = {**{item.node: 4 for item in FRONT}, **{item.node: 10 for item in BODY}, "attention": 20}


def test_a_front_end_that_ruins_the_model_is_left_out_whole_and_nothing_else() -> None:
    """The default budget is used up by products that no rule quantizes, and would not hold the four anyway."""
    fallback = choose_fallback([*FRONT, *BODY], COSTS, spent=20, allowance=Allowance())
    assert set(fallback.nodes) == {item.node for item in FRONT}
    assert fallback.remaining == pytest.approx(8e-4)


def test_a_usable_model_spends_the_default_budget_only() -> None:
    found = [Sensitivity("a", USABLE / 4), Sensitivity("b", USABLE / 4), Sensitivity("c", USABLE / 8)]
    fallback = choose_fallback(found, {"a": 5, "b": 20, "c": 75}, spent=0, allowance=Allowance())
    assert set(fallback.nodes) == {"a"}


def test_a_bargain_is_taken_beyond_the_default_budget() -> None:
    """Sixteen cheap ops cause all of the noise: leaving them out costs 4 % of the MACs, and the rest is clean."""
    front = [Sensitivity(f"cqt{k}", 5e-4) for k in range(16)]
    found = [*front, Sensitivity("conv", 1e-5)]
    costs = {**{item.node: 25 for item in front}, "conv": 8600, "narrow": 1000}
    fallback = choose_fallback(found, costs, spent=1000, allowance=Allowance())
    assert set(fallback.nodes) == {item.node for item in front}


def test_little_is_not_bought_dearly_where_a_model_is_nearly_usable() -> None:
    """From 18.9 dB, 1.6 dB that would take it past 20 for 15 % of the MACs; for 4 % they are taken."""
    found = [Sensitivity(f"conv{k}", 0.0043) for k in range(3)]
    for cost, taken in ((15, set()), (4, {"conv0"})):
        costs = {"conv0": cost, "conv1": 40, "conv2": 40, "rest": 20 - cost}
        assert set(choose_fallback(found, costs, 10, Allowance()).nodes) == taken


def test_nothing_is_spent_where_it_does_not_help() -> None:
    found = [Sensitivity("cheap", 0.05), Sensitivity("dear", 1.0)]
    fallback = choose_fallback(found, {"cheap": 10, "dear": 90}, spent=0, allowance=Allowance())
    assert not fallback.nodes and fallback.remaining == pytest.approx(1.05)


def test_the_cheapest_set_that_reaches_the_target() -> None:
    found = [Sensitivity("a", 1.0), Sensitivity("b", 0.5), Sensitivity("c", 0.01)]
    costs = {"a": 10, "b": 4, "c": 6}
    assert set(cheapest_fallback(found, costs, budget=20, target=0.6)) == {"a"}
    assert set(cheapest_fallback(found, costs, budget=20, target=0.02)) == {"a", "b"}
    assert set(cheapest_fallback(found, costs, budget=4, target=0.02)) == {"b"}
    assert not cheapest_fallback(found, costs, budget=3, target=0.02)


def test_the_cpu_leaves_out_what_costs_nothing_and_matters() -> None:
    """A classifier behind a large body, not the body, nor what is cheap and harmless beside all the noise."""
    costs = {"body": 9950, "head": 40, "gate": 10}
    assert cheap_ops(costs, CHEAP, 10000) == {"head", "gate"}
    fallback = cheap_fallback([Sensitivity("head", 8e-4), Sensitivity("gate", 1e-6)], costs, costs, 0, noise=1e-3)
    assert set(fallback.nodes) == {"head"} and fallback.nodes["head"] == pytest.approx(0.8)
    assert fallback.remaining == pytest.approx(2e-4)


def test_the_cpu_leaves_out_a_little_more_where_one_op_is_nearly_all_the_noise() -> None:
    costs = {"body": 9700, "entry": 200, "head": 100}
    loud, calm = Sensitivity("entry", 9e-4), Sensitivity("entry", 4e-4)
    assert set(cheap_fallback([loud, Sensitivity("head", 5e-5)], costs, costs, 0, noise=1e-3).nodes) == {
        "entry",
        "head",
    }
    assert set(cheap_fallback([calm, Sensitivity("head", 5e-5)], costs, costs, 0, noise=1e-3).nodes) == {"head"}


def test_the_cpu_comes_near_to_what_tensorrt_reaches_where_that_is_not_dear() -> None:
    found = [Sensitivity("entry", 5e-4), Sensitivity("exit", 1e-4)]
    costs = {"body": 9700, "entry": 200, "exit": 100}
    near = cheap_fallback(found, costs, costs, 0, noise=1e-3)
    assert set(near.nodes) == {"entry"}, "3 dB for 2 %, and not the 4 dB that TensorRT's form buys for 3"
    assert not cheap_fallback(found, costs, {"body": 9700, "entry": 800, "exit": 800}, 0, noise=1e-3).nodes


def test_rounding_of_results_is_no_noise_of_what_tensorrt_reaches() -> None:
    """All ops together cause less than half of the noise: the rest is 8-bit results, which TensorRT has not."""
    found = [Sensitivity("entry", 3.5e-4), Sensitivity("exit", 1e-4)]
    costs = {"body": 9700, "entry": 200, "exit": 100}
    assert set(cheap_fallback(found, costs, costs, 0, noise=1e-3).nodes) == {"exit"}
    assert set(cheap_fallback(found, costs, costs, 0, noise=1e-3, complete=True).nodes) == {"entry", "exit"}


def test_what_rules_left_out_counts_for_the_cpu_too() -> None:
    """Nine tenths of the MACs stay in int8: of an attention's 6 % in float four are left for other ops."""
    costs = {"attention": 600, "body": 8900, "entry": 500}
    loud = [Sensitivity("entry", 9e-4)]
    assert cheap_fallback(loud, costs, costs, 0, noise=1e-3).nodes
    assert not cheap_fallback(loud, costs, costs, 600, noise=1e-3).nodes


def test_a_convolution_in_float_costs_its_conversions_too() -> None:
    """Of a depthwise one they are more than its work; a product's result is float anyway."""
    model = parse(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[1,16,8,8] x, float[16,1,3,3] w, float[32,16,1,1] v, float[8,48] m)
            => (float[1,16,8,48] y, float[1,32,4,4] s) {
            a = Conv<group=16, pads=[1,1,1,1], strides=[2,2]>(x, w) b = Conv(a, v)
            s = Sigmoid(b) y = MatMul(x, m) }""",
        {"w": normal(16, 1, 3, 3), "v": normal(32, 16, 1, 1), "m": normal(8, 48)},
    )
    costs = {"a": 16 * 9 * 16, "b": 32 * 16 * 16, "y": 1000}
    felt = felt_costs(model, place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}), costs)
    assert felt["a"] == costs["a"] + ELEMENT * 16 * 16, "its data are float, its result is not"
    assert felt["b"] == costs["b"] + ELEMENT * 16 * 16, "its result is read in float"
    assert felt["y"] == 1000


def test_errors_of_ops_are_counted_in_units_of_what_was_judged() -> None:
    """Alone the ops add up to 14 dB; together they were judged at 30: nothing has to be bought to reach 20."""
    found = (Sensitivity("a", 0.01), Sensitivity("b", 0.03))
    judged = Prepared(None, QuantizeSettings(), Candidate(None, None, None, noise=0.001), found)  # type: ignore[arg-type]
    scaled = judged._as_judged(found, found)
    assert sum(item.noise for item in scaled) == pytest.approx(0.001)
    assert not choose_fallback(scaled, {"a": 50, "b": 50}, 0, Allowance()).nodes
    unjudged = replace(judged, chosen=replace(judged.chosen, noise=None))
    assert unjudged._as_judged(found, found) == list(found)
