"""The solver that rounds and prunes: against brute force where that can be had, against the plain choice elsewhere."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.reading.number_types import INT8
from graphs.reading.two_four import is_two_four
from optimizer.reconstruction.grid import Grid
from optimizer.reconstruction.moments import Moments, MomentSums
from optimizer.reconstruction.solver import error_of, refined, solve, swapped
from optimizer.sparsity.pattern import prune_two_four

PAIRS = list(combinations(range(4), 2))


def layer(seed: int, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """A weight [1, outputs, inputs] and the Hessian of correlated rows."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((4 * inputs, inputs)) @ rng.standard_normal((inputs, inputs)) / np.sqrt(inputs)
    hessian = rows.T @ rows / len(rows) + 0.02 * np.eye(inputs)
    return rng.standard_normal((1, outputs, inputs)).astype(np.float32), hessian[None].astype(np.float32)


def in_fours(inputs: int) -> np.ndarray:
    return np.arange(inputs).reshape(-1, 4)


def best_on(support: tuple[int, ...], weight: np.ndarray, hessian: np.ndarray) -> float:
    """The least error of one row [inputs] whose values outside ``support`` are zero."""
    inside = np.array(support)
    values = np.zeros_like(weight)
    values[inside] = np.linalg.solve(hessian[np.ix_(inside, inside)], hessian[inside] @ weight)
    return float((values - weight) @ hessian @ (values - weight))


def best_of_all(weight: np.ndarray, hessian: np.ndarray) -> float:
    choices = product(PAIRS, repeat=len(weight) // 4)
    supports = (tuple(4 * group + i for group, pair in enumerate(c) for i in pair) for c in choices)
    return min(best_on(support, weight, hessian) for support in supports)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_of_four_weights_the_best_two_are_kept_and_make_up_for_the_others(seed: int) -> None:
    weight, hessian = layer(seed, 3, 4)
    found = solve(weight, hessian, fours=in_fours(4))
    best = [best_of_all(row, hessian[0].astype(np.float64)) for row in weight[0].astype(np.float64)]
    np.testing.assert_allclose(error_of(weight, hessian, found)[0], best, rtol=1e-3, atol=1e-6)


def test_of_more_it_is_near_the_best_of_all_choices() -> None:
    ratios = []
    for seed in range(40):
        weight, hessian = layer(seed, 4, 8)
        first = solve(weight, hessian, fours=in_fours(8))
        found = refined(weight, hessian, swapped(weight, hessian, first, in_fours(8), sweeps=2))
        assert is_two_four(found, 2)
        assert error_of(weight, hessian, found).sum() <= error_of(weight, hessian, first).sum() * 1.001
        best = sum(best_of_all(row, hessian[0].astype(np.float64)) for row in weight[0].astype(np.float64))
        errors = [error_of(weight, hessian, values).sum() / best for values in (found, prune_two_four(weight, 2))]
        assert 0.999 <= errors[0] <= errors[1]
        ratios.append(errors)
    near, by_magnitude = np.median(ratios, axis=0)
    assert near < 1.15 and by_magnitude > 2.5


def test_kept_values_are_solved_for_at_once() -> None:
    weight, hessian = layer(3, 5, 40)
    pruned = solve(weight, hessian, fours=in_fours(40))
    found = refined(weight, hessian, pruned, steps=200)
    assert np.array_equal(found != 0, pruned != 0)
    exact = [best_on(tuple(np.flatnonzero(row)), w, hessian[0]) for row, w in zip(found[0], weight[0], strict=True)]
    np.testing.assert_allclose(error_of(weight, hessian, found)[0], exact, rtol=1e-3)
    assert (error_of(weight, hessian, found) < error_of(weight, hessian, pruned)).all()


@pytest.mark.parametrize("inputs", [4, 124, 132, 260])
def test_pruned_and_rounded_in_one_solve(inputs: int) -> None:
    """On the grid, in the pattern, and better than first the one and then the other."""
    weight, hessian = layer(inputs, 6, inputs)
    grid = Grid(np.full((1, 6), 0.25, np.float32), INT8.up_to(7))
    found = solve(weight, hessian, grid=grid, fours=in_fours(inputs))
    assert is_two_four(found, 2)
    codes = found / 0.25
    assert np.array_equal(codes, np.rint(codes)) and np.abs(codes).max() <= 7
    apart = grid.nearest(prune_two_four(weight, 2).swapaxes(1, 2)).swapaxes(1, 2)
    assert error_of(weight, hessian, found).sum() < error_of(weight, hessian, apart).sum()


def test_the_fours_are_those_it_is_told_of() -> None:
    weight, hessian = layer(1, 3, 16)
    fours = np.arange(16).reshape(4, 4).T  # a convolution's: channels stand apart by as many columns as it has taps
    found = solve(weight, hessian, fours=fours)
    assert all(np.count_nonzero(found[0][:, four], axis=1).max() <= 2 for four in fours)


def test_a_solution_that_is_there_is_found() -> None:
    weight, hessian = layer(5, 4, 32)
    sparse = prune_two_four(weight, 2)
    np.testing.assert_allclose(solve(sparse, hessian, fours=in_fours(32)), sparse, atol=1e-5)


@pytest.mark.parametrize("centred", [True, False])
def test_moments_added_up_are_those_of_all_rows(centred: bool) -> None:
    rng = np.random.default_rng(0)
    plain = (rng.standard_normal((300, 12)) + 30).astype(np.float32)
    noisy = plain + 0.3 * rng.standard_normal(plain.shape).astype(np.float32)
    sums = MomentSums(12)
    for part in np.split(np.arange(300), [7, 100, 101]):
        sums.add(plain[part], noisy[part])
    found, means = sums.taken(centred)
    np.testing.assert_allclose(means.noisy[0], noisy.mean(axis=0), rtol=1e-5)
    expected = Moments.of(plain[None], noisy[None], means if centred else None)
    np.testing.assert_allclose(found.hessian, expected.hessian, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(found.cross, expected.cross, rtol=2e-4, atol=2e-4)
    huge = MomentSums(12)
    with np.errstate(all="raise"):  # for whoever takes them to look at
        huge.add(1e30 * plain, 1e30 * noisy)
        assert not np.isfinite(huge.taken(centred)[0].hessian).all()
