"""What is known of the machine during a measurement."""

from __future__ import annotations

from benchmarks.timing.conditions import read_conditions


def test_conditions_of_this_machine() -> None:
    conditions = read_conditions()
    assert conditions.cpu
    assert conditions.cores >= 1
    assert conditions.load_average >= 0
    assert conditions.quiet == (conditions.load_average < conditions.cores)
