"""The conditions under which a comparison fails: read, refused, judged."""

from __future__ import annotations

import pytest

from graphs.errors import BadInput
from optimizer.verbs.gates import Gate, Quantity, gate, judge


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99>+5%", Gate("p99>+5%", Quantity.P99, True, 0.05, change=True, relative=True)),
        (" metric < -0.5% ", Gate("metric < -0.5%", Quantity.METRIC, False, -0.005, change=True, relative=True)),
        ("p50>+2ms", Gate("p50>+2ms", Quantity.P50, True, 2.0, change=True, relative=False)),
        ("size>20MB", Gate("size>20MB", Quantity.SIZE, True, 20.0, change=False, relative=False)),
        ("sqnr<40dB", Gate("sqnr<40dB", Quantity.SQNR, False, 40.0, change=False, relative=False)),
        ("agreement<99%", Gate("agreement<99%", Quantity.AGREEMENT, False, 0.99, change=False, relative=True)),
    ],
)
def test_a_condition_is_read(text: str, expected: Gate) -> None:
    assert gate(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p95>3", "no condition"),
        ("p99=3", "no condition"),
        ("p99>5%", r"a change: p99>\+5%"),
        ("metric<1%", "a change: metric<-1%"),
        ("sqnr<-3dB", "has no change"),
        ("sqnr<40%", "a value in dB"),
        ("size>3GB", "is not in GB"),
        ("", "no condition"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        gate(text)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("p99>+5%", False),
        ("p99>+4%", True),
        ("p99>+0.5ms", False),
        ("p99>10", True),
        ("sqnr<40", True),
        ("sqnr<30", False),
    ],
)
def test_gates_are_held_against_both_sides(text: str, failed: bool) -> None:
    first, second = {Quantity.P99: 10.0}, {Quantity.P99: 10.5, Quantity.SQNR: 35.0}
    (outcome,) = judge([gate(text)], first, second)
    assert outcome.failed is failed, outcome.said


def test_a_change_of_a_metric_below_zero_has_the_sign_of_what_happened() -> None:
    (worse,) = judge([gate("metric<-10%")], {Quantity.METRIC: -2.0}, {Quantity.METRIC: -3.0})
    assert worse.failed and "(-50.00%)" in worse.said


def test_what_was_not_measured_is_not_passed() -> None:
    (unknown,) = judge([gate("metric<-1%")], {}, {Quantity.METRIC: 0.9})
    assert unknown.failed is None and unknown.said == "metric was not measured of the first"
    (nothing,) = judge([gate("p99>+1%")], {Quantity.P99: 0.0}, {Quantity.P99: 1.0})
    assert nothing.failed is None


def test_what_is_no_number_is_not_passed() -> None:
    nan = float("nan")
    figures = {Quantity.METRIC: nan, Quantity.MAX_ABS: nan}
    for outcome in judge(
        [gate("metric<0.9"), gate("max_abs>0.1"), gate("metric<-1%")], {Quantity.METRIC: 0.9}, figures
    ):
        assert outcome.failed is None and "of the second is no number" in outcome.said
    (outcome,) = judge([gate("metric<-1%")], {Quantity.METRIC: nan}, {Quantity.METRIC: 0.9})
    assert outcome.failed is None and "of the first is no number" in outcome.said
