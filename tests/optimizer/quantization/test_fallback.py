"""What stays in high precision for the error it causes: within the budget, beyond it where that saves the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.quantization.candidates import Candidate
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
from optimizer.quantization.quantize import Prepared
from optimizer.quantization.settings import QuantizeSettings

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
    assert cheap_ops(costs, CHEAP) == {"head", "gate"}
    fallback = cheap_fallback([Sensitivity("head", 8e-4), Sensitivity("gate", 1e-6)], costs, noise=1e-3)
    assert set(fallback.nodes) == {"head"} and fallback.nodes["head"] == pytest.approx(0.8)
    assert fallback.remaining == pytest.approx(2e-4)


def test_the_cpu_leaves_out_a_little_more_where_one_op_is_nearly_all_the_noise() -> None:
    costs = {"body": 9700, "entry": 200, "head": 100}
    loud, calm = Sensitivity("entry", 9e-4), Sensitivity("entry", 4e-4)
    assert set(cheap_fallback([loud, Sensitivity("head", 5e-5)], costs, noise=1e-3).nodes) == {"entry", "head"}
    assert set(cheap_fallback([calm, Sensitivity("head", 5e-5)], costs, noise=1e-3).nodes) == {"head"}


def test_errors_of_ops_are_counted_in_units_of_what_was_judged() -> None:
    """Alone the ops add up to 14 dB; together they were judged at 30: nothing has to be bought to reach 20."""
    found = (Sensitivity("a", 0.01), Sensitivity("b", 0.03))
    judged = Prepared(None, QuantizeSettings(), Candidate(None, None, None, noise=0.001), found)  # type: ignore[arg-type]
    scaled = judged._as_judged(0.04)
    assert sum(item.noise for item in scaled) == pytest.approx(0.001)
    assert not choose_fallback(scaled, {"a": 50, "b": 50}, 0, Allowance()).nodes
    unjudged = replace(judged, chosen=replace(judged.chosen, noise=None))
    assert unjudged._as_judged(0.04) == list(found)
