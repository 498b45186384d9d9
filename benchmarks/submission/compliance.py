"""The compliance tests TEST01 and TEST04, run through LoadGen's own ``audit.config``, and what they verify.

TEST01 (accuracy in performance mode): LoadGen logs the answers of some samples of a performance run; they must equal
those of the accuracy run up to the last bits of sums, and the speed must be that of the submitted run. TEST04
(caching): every query is the same sample; that must not be faster than different ones. Thresholds: 10 %, 20 % for
stream latencies under 0.2 ms (1.6 ms for MultiStream), as in MLCommons' compliance folder. The checks are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.loadgen.answers import read_answers
from benchmarks.loadgen.settings import SCENARIO_NAMES, LoadgenResult, Scenario
from engines.engine import Array

TEST01_SEED = 720381539243781796
"""LoadGen's seed for choosing answers to log, from MLCommons' audit.config of TEST01."""
TEST01_SAMPLES = 128
"""Answers to log, from the same file."""
SAME_SAMPLE = 3
"""The sample that TEST04 sends over and over, from MLCommons' audit.config."""
THRESHOLD, SHORT_THRESHOLD = 0.10, 0.20
"""Largest change of speed, and that of runs so short that timers weigh in (compliance folder of mlcommons/inference).
"""
SHORT_MS = {Scenario.SINGLE_STREAM: 0.2, Scenario.MULTI_STREAM: 1.6}
"""Latencies below which a run counts as short (the same folder)."""
TESTS = ("TEST01", "TEST04")
SAME_SUM = 1e-5
"""Difference, relative to the largest value of an output, at which answers are the same: a batch of another size adds
the same numbers in another order. Chosen.
"""


def audit_config(test: str, scenario: Scenario) -> str:
    """The text LoadGen reads before a compliance run; it overrides the run's settings."""
    name = SCENARIO_NAMES[scenario]
    lines = {
        "TEST01": [
            "mode = 2",
            f"accuracy_log_rng_seed = {TEST01_SEED}",
            f"accuracy_log_sampling_target = {TEST01_SAMPLES}",
        ],
        "TEST04": [
            "mode = 2",
            "performance_issue_unique = 0",
            "performance_issue_same = 1",
            f"performance_issue_same_index = {SAME_SAMPLE}",
        ],
    }[test]
    return "".join(f"*.{name}.{line}\n" for line in lines)


@dataclass(frozen=True)
class Verification:
    """Whether a check passed, and the lines of its ``verify_*.txt``."""

    passed: bool
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, f"TEST {'PASS' if self.passed else 'FAIL'}", ""])


def verify_performance(test: str, reference: LoadgenResult, tested: LoadgenResult) -> Verification:
    """TEST01: the speed stays within the threshold. TEST04: it is not better by more than the threshold."""
    before, after = reference.value, tested.value
    lines = [f"reference score = {before}", f"test score = {after}", f"unit = {reference.unit}"]
    invalid = [f"{name} run is INVALID" for name, run in (("reference", reference), ("test", tested)) if not run.valid]
    if invalid or not before or not after:
        return Verification(False, lines + (invalid or ["a run gave no score"]))
    threshold = _threshold(reference.scenario, before)
    gain = after / before - 1 if reference.unit != "ms" else before / after - 1
    lines.append(f"change = {gain:+.2%} (better is positive), threshold = {threshold:.0%}")
    return Verification(gain < threshold if test == "TEST04" else abs(gain) < threshold, lines)


def _threshold(scenario: Scenario, milliseconds: float) -> float:
    return SHORT_THRESHOLD if milliseconds <= SHORT_MS.get(scenario, -1.0) else THRESHOLD


def verify_accuracy(accuracy_log: Path, test_log: Path) -> Verification:
    """Every answer logged in the compliance run is the accuracy run's for the same sample, up to the last bits of its
    sums (``SAME_SUM``); how many differ in any bit, and by how much, is said.
    """
    expected = dict(read_answers(accuracy_log))
    compared = rounded = mismatched = missing = 0
    largest = 0.0
    for index, outputs in read_answers(test_log):
        if index not in expected:
            missing += 1
            continue
        compared += 1
        difference = _difference(expected[index], outputs)
        mismatched += difference > SAME_SUM
        rounded += 0 < difference <= SAME_SUM
        largest = max(largest, difference)
    lines = [
        f"accuracy run answers = {len(expected)}",
        f"compared = {compared}",
        f"mismatched = {mismatched}",
        f"equal but for the last bits of sums = {rounded} (within {SAME_SUM:g})",
        f"missing = {missing}",
        f"largest difference = {largest:.3g} of the largest value of its output",
    ]
    return Verification(compared > 0 and mismatched == 0 and missing == 0, lines)


def _difference(expected: dict[str, Array], found: dict[str, Array]) -> float:
    """Largest difference relative to the largest magnitude; infinite where shapes differ."""
    worst = 0.0
    for name, array in expected.items():
        other = found[name]
        if array.shape != other.shape:
            return float("inf")
        if np.array_equal(array, other):
            continue
        scale = float(np.abs(array.astype(np.float64)).max()) or 1.0
        worst = max(worst, float(np.abs(array.astype(np.float64) - other).max()) / scale)
    return worst
