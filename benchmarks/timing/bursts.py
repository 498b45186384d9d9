"""Timings in bursts: their medians, how engines compare burst by burst, and when enough were taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

import numpy as np

NORMAL_95 = 1.959964
"""97.5th percentile of the standard normal distribution."""
KNOWN_WITHIN = 0.03
"""Half width of the 95 % interval of an engine's median, and of its ratio to the baseline, relative to the value, below
which a measurement may end early. Chosen: medians of bursts vary by 5 % where timings are just trusted
(``steady.LARGEST_VARIATION``), which 17 of them average to this.
"""
KNOWN_BURSTS = 6
"""Rounds of bursts before that is looked at: the range of six holds the median with 97 % (1 - 2 / 2^6), of five with
94 %."""


@dataclass(frozen=True)
class Timings:
    """Timed runs of one engine, in order: when each started (seconds since the first of all), how long it took, and
    in which round of bursts it fell."""

    starts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the baseline, with the 95 % interval of the median over ``pairs`` of bursts."""

    value: float
    low: float
    high: float
    pairs: int


Medians: TypeAlias = "Mapping[int, float]"
"""Of one engine: the median seconds of a run by round of bursts."""


def burst_medians(timings: Timings) -> dict[int, float]:
    """``Medians`` of all that was timed."""
    pairs = zip(timings.rounds, timings.seconds, strict=True)
    return {number: float(np.median([s for _, s in group])) for number, group in groupby(pairs, key=lambda p: p[0])}


def variation(values: Sequence[float]) -> float:
    """Coefficient of variation: standard deviation (n - 1) over mean; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / np.mean(values))


def compare_bursts(baseline: Timings, candidate: Timings) -> Ratio:
    """Baseline over candidate, from the rounds in which both ran."""
    return _ratio(burst_medians(baseline), burst_medians(candidate))


def _ratio(first: Medians, second: Medians) -> Ratio:
    ratios = sorted(first[number] / second[number] for number in first.keys() & second.keys())
    low, high = median_interval(ratios)
    return Ratio(float(np.median(ratios)), low, high, len(ratios))


def median_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median of sorted values: the order statistics n/2 -+ 1.96 sqrt(n)/2 (Conover, Practical
    Nonparametric Statistics, 3.2); the whole range for fewer than six values, which cannot hold 95 %.
    """
    count = len(ordered)
    half = NORMAL_95 * math.sqrt(count) / 2
    low, high = math.floor(count / 2 - half), math.ceil(count / 2 + half)
    if count < 6:
        low, high = 0, count - 1
    return ordered[max(low, 0)], ordered[min(high, count - 1)]


def known(engines: Sequence[Medians]) -> bool:
    """Whether more runs would tell little: median and ratio to the first engine known within ``KNOWN_WITHIN``, of every
    engine.

    It looks at widths alone, never at which is faster, and a fixed width keeps its coverage however often it is looked
    at (Chow and Robbins, 1965).
    """
    if any(len(one) < KNOWN_BURSTS for one in engines):
        return False
    ratios = [_ratio(engines[0], other) for other in engines[1:]]
    intervals = [
        (float(np.median(values)), *median_interval(values)) for values in (sorted(m.values()) for m in engines)
    ]
    intervals += [(ratio.value, ratio.low, ratio.high) for ratio in ratios]
    return all(high - low <= 2 * KNOWN_WITHIN * value for value, low, high in intervals)
