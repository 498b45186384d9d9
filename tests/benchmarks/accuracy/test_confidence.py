"""Bounds of a drop: they hold as often as they say, and do not claim what few samples cannot tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.accuracy.confidence import (
    DropBound,
    bootstrap_upper,
    cosine_bound,
    cosine_drop,
    score_bound,
    student_t,
    tango_upper,
)

TRIALS = 200


def covered(true: float, bound: Callable[[np.random.Generator], DropBound | None]) -> float:
    """How often the bound is no less than the true drop."""
    rng = np.random.default_rng(0)
    found = [bound(rng) for _ in range(TRIALS)]
    return float(np.mean([one is not None and one.upper >= true for one in found]))


@pytest.mark.parametrize("count", [60, 1500])
def test_right_and_wrong_answers_are_covered_95_times_in_100(count: int) -> None:
    def bound(rng: np.random.Generator) -> DropBound | None:
        before, wrong, mended = rng.random(count) < 0.9, rng.random(count) < 0.06, rng.random(count) < 0.1
        after = np.where(before, ~wrong, mended)
        return score_bound(before.astype(float) - after.astype(float), 1.0, binary=True)

    assert covered(0.9 * 0.06 - 0.1 * 0.1, bound) >= 0.91  # 95 %, and what 200 trials differ by


@pytest.mark.parametrize("count", [16, 60])
def test_means_are_covered_95_times_in_100(count: int) -> None:
    def bound(rng: np.random.Generator) -> DropBound | None:
        return score_bound(rng.exponential(0.01, count) - 0.005, 1.0, binary=False)

    assert covered(0.005, bound) >= 0.88  # skewed and few: less than 95 %, as Hesterberg finds


def test_a_cosine_is_covered() -> None:
    def bound(rng: np.random.Generator) -> DropBound | None:
        reference = rng.normal(size=(40, 50))
        candidate = reference + 0.2 * rng.normal(size=reference.shape)
        pairs = (reference, reference), (candidate, candidate), (reference, candidate)
        return cosine_bound(np.stack([(a * b).sum(1) for a, b in pairs], 1))

    assert covered(1 - 1 / np.sqrt(1 + 0.2**2), bound) >= 0.9


def test_rounding_is_no_drop() -> None:
    """A budget of nothing was missed by a graph that changed nothing: 1 - cosine was 2e-16."""
    reference = np.random.default_rng(0).normal(size=(40, 50))
    candidate = reference * (1 + 1e-7 * np.random.default_rng(1).normal(size=reference.shape))
    pairs = (reference, reference), (candidate, candidate), (reference, candidate)
    bound = cosine_bound(np.stack([(a * b).sum(1) for a, b in pairs], 1))
    assert bound is not None and bound.upper == 0.0 and cosine_drop(1.0 - 2e-16) == 0.0


def test_without_any_difference_few_samples_confirm_no_small_drop() -> None:
    few, many = (score_bound(np.zeros(count), 0.9, binary=True) for count in (20, 10_000))
    assert few is not None and many is not None
    assert few.upper > 0.1 and few.least == pytest.approx(few.upper) and many.upper < 0.0005


def test_rare_losses_are_allowed_for_where_scores_are_no_answers() -> None:
    found = score_bound(np.zeros(20), 0.9, binary=False)
    assert found is not None and found.least > 0.1 and found.upper >= found.least


def test_seven_samples_are_too_few_for_a_bootstrap() -> None:
    assert score_bound(np.arange(7.0), 1.0, binary=False) is None
    assert cosine_bound(np.ones((7, 3))) is None


def test_more_looks_ask_for_more() -> None:
    lost = np.random.default_rng(1).normal(0.01, 0.1, 400)
    one, ten = (score_bound(lost, 1.0, binary=False, looks=looks) for looks in (1, 10))
    assert one is not None and ten is not None and ten.upper > one.upper and ten.looks == 10


def test_the_interval_of_no_discordant_pair_is_tangos() -> None:
    assert tango_upper(0, 0, 44, 1.96) == pytest.approx(1.96**2 / (44 + 1.96**2), abs=1e-6)
    assert tango_upper(5, 0, 100, 1.645) > 0.05 and tango_upper(5, 5, 100, 1.645) == pytest.approx(0.052, abs=0.006)


def test_quantiles_of_students_t() -> None:
    assert student_t(1.644854, 7) == pytest.approx(1.894579, abs=0.01)
    assert student_t(2.575829, 23) == pytest.approx(2.807336, abs=0.002)


def test_many_samples_are_drawn_in_groups() -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 1))
    upper = bootstrap_upper(rows, lambda mean: mean[:, 0]) - float(rows.mean())
    assert upper == pytest.approx(1.645 / np.sqrt(20_000), rel=0.1)
