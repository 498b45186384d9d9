"""Which ops to leave in high precision: as many as pay, within a budget of multiply-accumulates.

By default the budget is small and spent where it takes most noise away. That is no help where a few ops ruin the model
and together cost more than the budget (the Fourier transform in front of a spectrogram: each of eight products alone
takes the output to 5 dB): then the cheapest set is looked for that brings the output to a usable level, and nothing
beyond it is spent. A usable model too gets more than the budget where that is a bargain. What rules leave out anyway
(products of two activations) does not use that second budget up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.judging.noise import decibels

LEAST_PART = 0.01
"""Ops that cause less of the noise than this are not worth a change of precision. Chosen."""
AUDIBLE_PART = 0.04
"""And in the CPU's form, where each breaks a chain, less than this: 0.2 dB. Chosen."""
USABLE = 0.01
"""Relative noise power (20 dB) that is reached for beyond the default budget. Chosen."""
RUINED = 10**-1.5
"""Noise power (15 dB) above which the CPU's form gives up speed for accuracy. MobileNetV2 at 18.9 dB does not: 1.5 dB
cost it 30 % of its speed."""
OVERDRAFT = 0.25
"""Most of the MACs that are left out to reach it. Chosen."""
CHEAP = 0.01
"""Part of the MACs that the CPU's form leaves out for accuracy: 1 % of them are no measurable time, and a classifier
behind a large body often causes most of the error (86 % of gMLP's for 0.05 % of its MACs). Chosen."""
RATE = 2.0
"""Decibels that each hundredth of the MACs beyond the default budget must buy where the model is of use without it."""
NEARLY_USABLE, NEARLY_USABLE_RATE = 2.0, 0.25
"""Within 3 dB of the target a hundredth of the MACs beyond the default budget must buy a quarter of a decibel:
ResNet-18 with random weights gave 7 % of its MACs for the 0.9 dB from 19 to 20."""
INAUDIBLE = 1e-4
"""Relative noise power (40 dB) below which a decibel buys nothing. Chosen."""
FEW, NEARLY_ALL = 0.1, 0.75
"""And the part that it leaves out where a few ops cause that part of the noise: 6 dB for a tenth of the MACs.
Chosen."""
NEAR_TYPED, CPU_RATE = 10**0.25, 0.5
"""The CPU's form should come within 2.5 dB of what TensorRT's reaches by leaving ops out, if every hundredth of the
MACs that this costs, 3 % of the time, buys half a decibel."""
NEARLY = 10**0.1
"""A cheaper set within 1 dB of the best that can be reached is preferred to it. Chosen."""
_STEPS = 1000
"""Parts that the budget is cut into for the knapsack: costs are rounded up by a thousandth of it at most.
Chosen."""


@dataclass(frozen=True)
class Allowance:
    """``share`` of all MACs may stay out of int8, with what rules leave out, wherever that buys most. Where the noise
    that remains is above ``target``, up to ``most`` of the MACs beside those may, as few as reach it.
    """

    share: float = 0.095
    target: float = USABLE
    most: float = OVERDRAFT


@dataclass(frozen=True)
class Fallback:
    """Node -> its part of all noise, for the nodes to leave out; ``remaining`` is the noise expected of the others."""

    nodes: Mapping[str, float]
    remaining: float


def choose_fallback(
    found: Sequence[Sensitivity], costs: Mapping[str, int], spent: int, allowance: Allowance
) -> Fallback:
    """What to leave out of the ops ``found``. ``costs`` are MACs by node, ``spent`` is what rules left out of them."""
    total, noise = sum(costs.values()), sum(item.noise for item in found)
    chosen = best_fallback(found, costs, budget=allowance.share * total - spent)
    remaining = noise * (1 - sum(chosen.values()))
    if remaining > allowance.target:
        wider = cheapest_fallback(found, costs, budget=allowance.most * total, target=allowance.target)
    else:
        wider = _bargain(found, costs, chosen, budget=allowance.most * total)
    left = noise * (1 - sum(wider.values()))
    if left * NEARLY >= remaining or (
        allowance.target < remaining <= NEARLY_USABLE * allowance.target
        and _decibels(remaining) - _decibels(left) < NEARLY_USABLE_RATE * 100 * _more(wider, chosen, costs) / total
    ):
        return Fallback(chosen, remaining)
    return Fallback(wider, left)


def _more(nodes: Iterable[str], than: Iterable[str], costs: Mapping[str, int]) -> int:
    return sum(costs[node] for node in nodes) - sum(costs[node] for node in than)


def cheap_ops(costs: Mapping[str, int], share: float, total: int) -> frozenset[str]:
    """Ops that cost at most ``share`` of the ``total`` MACs each."""
    return frozenset(node for node, cost in costs.items() if 0 < cost <= share * total)


def cheap_fallback(
    found: Sequence[Sensitivity],
    costs: Mapping[str, int],
    felt: Mapping[str, int],
    spent: int,
    noise: float,
    *,
    complete: bool = False,
) -> Fallback:
    """What the CPU's form leaves out, beside the ``noise`` of all: what matters within ``CHEAP`` of the MACs; or within
    ``FEW``, where that takes nearly all noise away, and half of what ``CHEAP`` leaves at least; or as much as comes
    ``NEAR_TYPED`` to what TensorRT's form reaches with its larger budget, where that is worth its price. ``costs`` are
    MACs by node, ``felt`` what they are on a CPU; what rules left out of them, ``spent``, counts towards ``FEW``. Where
    ``found`` is ``complete``, the rest of the noise comes from rounding of results, which TensorRT's form does not do.
    """
    total, share, measured = sum(costs.values()), Allowance().share, sum(item.noise for item in found)
    noise = max(noise, measured)
    least, most = CHEAP * total, max(FEW * total - spent, CHEAP * total)
    cheap, few = (
        best_fallback(found, felt, budget=budget, total=noise, least=AUDIBLE_PART) for budget in (least, most)
    )
    taken, more = sum(cheap.values()), sum(few.values())
    chosen, part = (few, more) if more >= NEARLY_ALL and 1 - more <= (1 - taken) / 2 else (cheap, taken)
    theirs = measured if complete else noise
    typed = theirs * (1 - sum(best_fallback(found, costs, budget=share * total - spent, total=theirs).values()))
    if noise * (1 - part) > NEAR_TYPED * typed:
        near = _nearest(found, felt, noise, target=NEAR_TYPED * typed, budget=most)
        gain = _decibels(noise * (1 - part)) - _decibels(noise * (1 - sum(near.values())))
        if gain >= CPU_RATE * 100 * (sum(felt[node] for node in near) - sum(felt[node] for node in chosen)) / total:
            chosen, part = near, sum(near.values())
    return Fallback(chosen, max(noise * (1 - part), 0.0))


def _nearest(
    found: Sequence[Sensitivity], costs: Mapping[str, int], noise: float, *, target: float, budget: float
) -> dict[str, float]:
    """The cheapest set that brings ``noise`` to ``target``, or the best there is within ``budget``."""
    items = _affordable(found, costs, budget, AUDIBLE_PART * noise)
    if not items:
        return {}
    filled = _knapsack(items, costs, budget)
    chosen = next((indices for removed, indices in filled if noise - removed <= target), filled[-1][1])
    return _parts(items, chosen, noise)


def _bargain(
    found: Sequence[Sensitivity], costs: Mapping[str, int], chosen: Mapping[str, float], *, budget: float
) -> dict[str, float]:
    """The set that buys most decibels beyond ``RATE`` for each hundredth of the MACs it costs more than ``chosen``."""
    total, noise = sum(costs.values()), sum(item.noise for item in found)
    items = _affordable(found, costs, budget, LEAST_PART * INAUDIBLE)
    best, gain = dict(chosen), 0.0
    start = _decibels(noise * (1 - sum(chosen.values())))
    for removed, indices in _knapsack(items, costs, budget) if items else ():
        spent = sum(costs[items[index].node] for index in indices) - sum(costs[node] for node in chosen)
        found_gain = start - _decibels(noise - removed) - RATE * 100 * max(spent, 0) / total
        if found_gain > gain:
            best, gain = _parts(items, indices, noise), found_gain
    return best


def _decibels(noise: float) -> float:
    return decibels(noise, INAUDIBLE)


def best_fallback(
    sensitivities: Sequence[Sensitivity],
    costs: Mapping[str, int],
    *,
    budget: float,
    total: float = 0.0,
    least: float = LEAST_PART,
) -> dict[str, float]:
    """The ops that take most noise away for at most ``budget`` multiply-accumulates: node -> its part of all noise.

    ``total`` is the noise of all ops where not all were measured. Ops without MACs (residual adds) are not candidates:
    leaving them out splits a fusion.
    """
    total = max(total, sum(item.noise for item in sensitivities))
    items = [
        item for item in sensitivities if 0 < costs.get(item.node, 0) <= budget and item.noise >= least * total > 0
    ]
    return _parts(items, _knapsack(items, costs, budget)[-1][1], total) if items else {}


def cheapest_fallback(
    sensitivities: Sequence[Sensitivity], costs: Mapping[str, int], *, budget: float, target: float
) -> dict[str, float]:
    """The ops that bring the noise down to ``target`` for the fewest multiply-accumulates; where no set within
    ``budget`` does, the cheapest that comes within 1 dB of the best.
    """
    total = sum(item.noise for item in sensitivities)
    worth = LEAST_PART * min(target, total)
    items = _affordable(sensitivities, costs, budget, worth)
    if not items:
        return {}
    filled = _knapsack(items, costs, budget)
    enough = max(target, NEARLY * max(total - filled[-1][0], 0.0))
    chosen = next(indices for removed, indices in filled if total - removed <= enough)
    return _parts(items, chosen, total)


def _affordable(
    sensitivities: Sequence[Sensitivity], costs: Mapping[str, int], budget: float, least: float
) -> list[Sensitivity]:
    return [item for item in sensitivities if 0 < costs.get(item.node, 0) <= budget and item.noise >= least > 0]


def _knapsack(
    items: Sequence[Sensitivity], costs: Mapping[str, int], budget: float
) -> list[tuple[float, tuple[int, ...]]]:
    """For each thousandth of the budget the most noise that can be removed for it, and by which items (0/1, exact up to
    the rounding of costs).
    """
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * (_STEPS + 1)
    for index, item in enumerate(items):
        weight = int(np.ceil(costs[item.node] / budget * _STEPS))
        for room in range(_STEPS, weight - 1, -1):
            value = best[room - weight][0] + item.noise
            if value > best[room][0]:
                best[room] = value, (*best[room - weight][1], index)
    return best


def _parts(items: Sequence[Sensitivity], chosen: Sequence[int], total: float) -> dict[str, float]:
    return {items[index].node: items[index].noise / total for index in chosen}
