"""How large a drop in accuracy may be in truth, given the samples it was seen on: one-sided upper bounds.

All of them are *paired*: the same samples were answered by FP32 and by the candidate. The samples are taken as drawn
independently from what the model will meet.

- Scores of 0 and 1: Tango's score interval for the difference of paired proportions (Statistics in Medicine 17, 1998),
  whose test of no difference is McNemar's. It does not collapse where no answer differs: then it is z^2 / (n + z^2).
- Other scores, and cosines: the bootstrap over samples, its percentile widened for few of them ("expanded percentile",
  Hesterberg, The American Statistician 69, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from engines.engine import Array

COSINE_ROUNDING = 1e-12
"""What ``1 - cosine`` of float32 results may be by rounding alone: half the square of their relative error, 1e-6 of
some sums (16 times float32's spacing). Chosen above it; INT8 has a million times as much."""
LEVEL = 0.95
"""Confidence of a bound. Chosen: what statistics usually calls sure."""
RESAMPLES = 4000
"""Bootstrap samples; the 99.5th percentile then has 20 beyond it. Chosen."""
GROUPS = 400
"""Samples beyond this many are joined with their neighbours before they are drawn: 4000 times 22,000 take seconds and
say no more. Chosen."""
FEWEST = 8
"""Pieces below which a bootstrap says nothing: of seven there are 1,716 resamples in all. Chosen."""
SELDOM = 10
"""Samples whose scores differ: fewer are rare events, and what none of the samples showed must be allowed for.
Chosen."""


@dataclass(frozen=True)
class DropBound:
    """The drop is at most ``upper`` with confidence ``level`` (one-sided), a fraction of FP32's value like the budget.

    ``least`` is the bound that a candidate without any difference would have got on the same ``samples``: a budget
    below it cannot be confirmed on them. ``looks`` is among how many candidates one may be chosen by these samples:
    ``level`` holds for all of them together (Bonferroni). ``how`` names the method.
    """

    upper: float
    level: float
    samples: int
    how: str
    least: float = 0.0
    looks: int = 1


def score_bound(
    lost: Array, value: float, binary: bool, looks: int = 1, unit: float = 1.0, samples: int | None = None
) -> DropBound | None:
    """The bound of a mean from ``lost``, what the candidate's score lacks to FP32's by sample, [N]; None for too few.

    ``value`` is FP32's mean (1 where that is 0); ``binary``: scores are 0 or 1; ``unit`` is what one sample may lose.
    ``samples`` is how many there are where each of the N is a group of them.
    """
    z, scale, count = _z(looks), abs(value) or 1.0, samples or len(lost)
    rare = unit * least_bound(count, looks)
    if binary:
        upper = tango_upper(int((lost > 0).sum()), int((lost < 0).sum()), count, z)
        return DropBound(upper / scale, LEVEL, count, "Tango's score interval of paired answers", rare / scale, looks)
    if len(lost) < FEWEST:
        return None
    upper = bootstrap_upper(lost[:, None].astype(np.float64), lambda mean: mean[:, 0], looks)
    seldom = np.count_nonzero(lost) < SELDOM
    if seldom:
        upper = max(upper, float(np.mean(lost)) + rare)
    least = rare if seldom else 0.0
    return DropBound(upper / scale, LEVEL, count, "paired bootstrap over samples", least / scale, looks)


def least_bound(samples: int, looks: int = 1) -> float:
    """The bound that ``samples`` give where no answer differs: Tango's of scores of 0 and 1."""
    z = _z(looks)
    return z * z / (samples + z * z)


def cosine_drop(cosine: float) -> float:
    """``1 - cosine``, zero where that is rounding: a budget of nothing holds for a graph that changes nothing."""
    return 0.0 if 1.0 - cosine < COSINE_ROUNDING else 1.0 - cosine


def cosine_bound(sums: Array, looks: int = 1) -> DropBound | None:
    """The bound of ``1 - cosine`` from (reference^2, candidate^2, reference x candidate) by sample, [N, 3]."""
    if len(sums) < FEWEST:
        return None

    def lost(mean: Array) -> Array:
        size = np.sqrt(np.maximum(mean[:, 0] * mean[:, 1], 0.0))
        alike: Array = np.divide(mean[:, 2], size, out=np.ones_like(size), where=size > 0)
        return np.where(1.0 - alike < COSINE_ROUNDING, 0.0, 1.0 - alike)

    upper = bootstrap_upper(sums.astype(np.float64), lost, looks)
    return DropBound(upper, LEVEL, len(sums), "paired bootstrap over samples", 0.0, looks)


def tango_upper(losses: int, gains: int, count: int, z: float) -> float:
    """Upper limit of (losses - gains) / count, of answers that were right before and wrong after, and the reverse."""

    def statistic(difference: float) -> float:
        a, b = 2 * count, (2 * count - losses + gains) * difference - losses - gains
        c = -gains * difference * (1 - difference)
        rare = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = count * (2 * rare + difference * (1 - difference))
        return (losses - gains - count * difference) / math.sqrt(max(variance, 1e-300))

    low, high = (losses - gains) / count, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) > -z else (low, middle)
    return high


def bootstrap_upper(rows: Array, statistic: Callable[[Array], Array], looks: int = 1) -> float:
    """Upper limit of ``statistic`` of the mean of ``rows``, [N, K]; it maps means, [B, K], to numbers, [B]."""
    joined = np.array([part.mean(0) for part in np.array_split(rows, min(len(rows), GROUPS))])
    count = len(joined)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return float(np.quantile(statistic(drawn @ joined / count), _expanded(count, looks)))


def _expanded(count: int, looks: int) -> float:
    wide = math.sqrt(count / (count - 1)) * student_t(_z(looks), count - 1)
    return NormalDist().cdf(wide)


def student_t(z: float, freedom: int) -> float:
    """The quantile of Student's t that belongs to ``z`` of the normal distribution (Abramowitz and Stegun 26.7.5)."""
    third = (z**3 + z) / 4
    fifth = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    seventh = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + third / freedom + fifth / freedom**2 + seventh / freedom**3


def _z(looks: int) -> float:
    return NormalDist().inv_cdf(1 - (1 - LEVEL) / looks)
