"""Accuracy against FP32: definitions checked against direct formulas, failures never silent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.accuracy.compare import SQNR_CAP_DB, OutputAccuracy, compare
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput


class Computed:
    """An engine that is a numpy function of ``x`` [batch, 8]."""

    inputs = (TensorSpec("x", "float32", ("batch", 8)),)

    def __init__(self, function: Callable[[Array], Array], name: str = "y") -> None:
        self._function, self._name = function, name
        self.outputs = (TensorSpec(name, "float32", ("batch", "?")),)

    def infer(self, feed: Feed) -> dict[str, Array]:
        return {self._name: self._function(feed["x"])}

    def close(self) -> None: ...

    def __enter__(self) -> Computed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def feeds(x: Array, batch: int = 4) -> Iterator[Feed]:
    for start in range(0, len(x), batch):
        yield {"x": x[start : start + batch]}


def accuracy(reference: Callable[[Array], Array], candidate: Callable[[Array], Array], x: Array) -> OutputAccuracy:
    return compare(Computed(reference), {"int8": Computed(candidate)}, feeds(x))["int8"].outputs["y"]


X = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)


@given(
    x=hnp.arrays(np.float32, (12, 8), elements=st.floats(-1e3, 1e3, width=32)),
    noise=hnp.arrays(np.float32, (8,), elements=st.floats(-10, 10, width=32)),
    batch=st.integers(1, 12),
)
def test_streamed_figures_equal_the_formulas(x: Array, noise: Array, batch: int) -> None:
    engines = Computed(lambda v: v), {"c": Computed(lambda v: v + noise)}
    result = compare(*engines, feeds(x, batch))["c"]
    r, c = x.astype(np.float64), (x + noise).astype(np.float64)
    error, signal = ((r - c) ** 2).sum(), (r**2).sum()
    output = result.outputs["y"]
    assert result.samples == 12
    assert output.max_abs == pytest.approx(np.abs(r - c).max())
    if error > 0 and signal > 0:
        expected = np.clip(10 * math.log10(signal / error), -SQNR_CAP_DB, SQNR_CAP_DB)
        assert output.sqnr_db == pytest.approx(expected, abs=1e-6)
        if (c**2).sum() > 0:
            cosine = (r * c).sum() / math.sqrt(signal * (c**2).sum())
            assert output.cosine == pytest.approx(cosine, abs=1e-9)


def test_identical_outputs_are_capped_not_infinite() -> None:
    output = accuracy(lambda x: x, lambda x: x, X)
    assert (output.sqnr_db, output.max_abs, output.agreement) == (SQNR_CAP_DB, 0.0, 1.0)
    assert output.cosine == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_a_failure(bad: float) -> None:
    def spoil(x: Array) -> Array:
        return np.where(x == X[17, 3], np.float32(bad), x)

    result = compare(Computed(lambda x: x), {"int8": Computed(spoil)}, feeds(X))["int8"]
    assert result.outputs["y"].sqnr_db == -SQNR_CAP_DB
    assert result.failures == ["output 'y': 1 values are NaN or infinite where FP32's are finite (first in sample 16)"]


def test_numbers_where_fp32_has_none_are_a_failure_and_told_as_it() -> None:
    """A sample of infinity that INT8 saturates: "values are NaN or infinite where FP32's are finite" was not so."""
    reference = Computed(lambda x: np.where(x == X[17, 3], np.float32(np.inf), x))
    (failure,) = compare(reference, {"c": Computed(lambda x: x)}, feeds(X))["c"].failures
    assert failure == "output 'y': 1 values differ where FP32's own are NaN or infinite (first in sample 16)"


def test_answers_of_nan_alone_prove_nothing() -> None:
    """They were "exact", and the job within budget."""
    output = accuracy(lambda x: x * np.float32(np.nan), lambda x: x * np.float32(np.nan), X)
    assert "nothing to compare" in output.failure and output.sqnr_db == -SQNR_CAP_DB


def test_infinities_that_fp32_has_too_are_no_error() -> None:
    def mask(x: Array) -> Array:
        return np.where(x < 0, np.float32(-np.inf), x)

    output = accuracy(mask, mask, X)
    assert not output.failure
    assert output.sqnr_db == SQNR_CAP_DB


@pytest.mark.parametrize(("hidden", "right"), [(-np.inf, True), (-65504.0, True), (-30000.0, False), (np.inf, False)])
def test_the_lowest_number_of_a_type_hides_as_infinity_does(hidden: float, right: bool) -> None:
    """ONNX Runtime's Attention fills masked scores with float32's lowest number where the standard has -inf."""
    reference = Computed(lambda x: np.where(x > 3, np.finfo(np.float32).min, x))
    candidate = Computed(lambda x: np.where(x > 3, np.float32(hidden), x))
    x = np.arange(8, dtype=np.float32).reshape(1, 8)
    found = compare(reference, {"c": candidate}, [{"x": x}])["c"].outputs["y"]
    assert (found.sqnr_db == SQNR_CAP_DB and found.agreement == 1.0 and not found.failure) is right


@pytest.mark.parametrize("fill", [-1e5, -1e9])
def test_fills_drown_no_error(fill: float) -> None:
    """Masked logits of a policy: -1e9 in both counted as all the signal there is, and any error as none."""

    def masked(scores: Array) -> Array:
        return np.where(X[: len(scores)] < 0, np.float32(fill), scores)

    output = accuracy(masked, lambda x: masked(1.1 * x), X)
    assert output.sqnr_db == pytest.approx(20, abs=0.1) and output.max_abs < 1
    moved = accuracy(masked, lambda x: np.float32(1.1) * masked(x), X)
    assert moved.max_abs == pytest.approx(-0.1 * fill), "a fill that differs is an error"
    assert accuracy(lambda x: x * 0 - 1e9, lambda x: x * 0 - 1e9, X).cosine == 1.0


def test_another_shape_is_a_failure_and_disagrees() -> None:
    output = accuracy(lambda x: x, lambda x: x[:, :-1], X)
    assert "shape 4x7 where FP32 gives 4x8 (sample 0)" in output.failure
    assert output.agreement == 0.0


def test_classes_agree_by_argmax() -> None:
    flipped = X.copy()
    flipped[:10] = -flipped[:10]
    table = {row.tobytes(): out for row, out in zip(X, flipped, strict=True)}
    output = accuracy(lambda x: x, lambda x: np.stack([table[row.tobytes()] for row in x]), X)
    assert (output.agreement, output.agreement_kind) == (30 / 40, "argmax")


def test_a_tie_in_fp32_may_be_broken_either_way() -> None:
    tied = np.array([1.0, 1.0, 0.0], np.float32)
    other = tied + np.array([0.0, 0.1, 0.0], np.float32)
    output = accuracy(lambda x: np.tile(tied, (len(x), 1)), lambda x: np.tile(other, (len(x), 1)), X)
    assert output.agreement == 1.0


def test_a_probability_agrees_by_threshold() -> None:
    def probability(x: Array) -> Array:
        return 1 / (1 + np.exp(-x[:, :1]))

    output = accuracy(probability, lambda x: np.clip(probability(x) - 0.2, 0, 1), X)
    p = probability(X)
    assert output.agreement_kind == "threshold 0.5"
    assert output.agreement == pytest.approx(np.mean((p >= 0.5) == (p - 0.2 >= 0.5)))


@given(scale=st.floats(0.001, 0.05))
def test_other_values_agree_within_a_hundredth_of_their_range(scale: float) -> None:
    offsets = np.linspace(0, 1, 40) * scale * 10
    table = {row.tobytes(): np.float64(offset) for row, offset in zip(X, offsets, strict=True)}

    def values(x: Array) -> Array:
        return 3 * x[:, :1].astype(np.float64)

    output = accuracy(values, lambda x: values(x) + np.array([[table[row.tobytes()]] for row in x]), X)
    errors, limit = np.abs(offsets), 0.01 * np.ptp(values(X))
    assert output.agreement_kind == "within 1% of range"
    assert np.mean(errors <= 0.95 * limit) <= output.agreement <= np.mean(errors <= limit)


def test_integers_are_compared_exactly() -> None:
    output = accuracy(lambda x: np.round(x).astype(np.int64), lambda x: np.round(x + 0.2).astype(np.int64), X)
    equal = np.mean(np.round(X).astype(int) == np.round(X + 0.2).astype(int))
    assert (output.agreement_kind, output.agreement) == ("exact", pytest.approx(equal))


def test_no_samples_and_missing_outputs_are_bad_input() -> None:
    engine: Any = Computed(lambda x: x)
    with pytest.raises(BadInput, match="no samples"):
        compare(engine, {"c": engine}, [])
    with pytest.raises(BadInput, match="lacks output 'y'"):
        compare(engine, {"c": Computed(lambda x: x, "z")}, feeds(X))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[np.nan] * 8, [np.nan, 1, 2, 3, 4, 5, 6, 7], [np.inf, -np.inf, 0, 0, 0, 0, 0, 0]])
def test_the_same_values_agree_where_they_are_not_finite(values: list[float]) -> None:
    odd = np.array(values, np.float32)
    for shaped in (lambda x: x * 0 + odd, lambda x: (x * 0 + odd)[:, :1]):
        found = accuracy(shaped, shaped, X)
        assert found.agreement == 1.0
        nothing = bool(np.isnan(shaped(X)).all())
        assert found.sqnr_db == (-SQNR_CAP_DB if nothing else SQNR_CAP_DB)
        assert ("nothing to compare" in found.failure) is nothing
