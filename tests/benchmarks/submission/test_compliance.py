"""What the compliance verifications accept and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.loadgen.answers import LOG_FILE, SHAPES_FILE, AnswerShapes
from benchmarks.loadgen.settings import LoadgenResult, Mode, Scenario
from benchmarks.submission.compliance import audit_config, verify_accuracy, verify_performance
from graphs.files import write_json


def run(value: float, scenario: Scenario = Scenario.OFFLINE, valid: bool = True) -> LoadgenResult:
    unit = "samples/s" if scenario is Scenario.OFFLINE else "ms"
    return LoadgenResult(scenario, Mode.PERFORMANCE, valid, "metric", value, unit)


@pytest.mark.parametrize(
    ("test", "scenario", "before", "after", "passes"),
    [
        ("TEST01", Scenario.OFFLINE, 100.0, 109.0, True),
        ("TEST01", Scenario.OFFLINE, 100.0, 88.0, False),
        ("TEST04", Scenario.OFFLINE, 100.0, 88.0, True),  # slower on the same sample: nothing was cached
        ("TEST04", Scenario.OFFLINE, 100.0, 130.0, False),
        ("TEST04", Scenario.SINGLE_STREAM, 5.0, 3.0, False),  # a lower latency is the cached one
        ("TEST04", Scenario.SINGLE_STREAM, 5.0, 9.0, True),
        ("TEST01", Scenario.SINGLE_STREAM, 0.15, 0.13, True),  # short latencies have 20 %
        ("TEST01", Scenario.SINGLE_STREAM, 1.50, 1.30, False),
    ],
)
def test_speed(test: str, scenario: Scenario, before: float, after: float, passes: bool) -> None:
    verified = verify_performance(test, run(before, scenario), run(after, scenario))
    assert verified.passed is passes
    assert f"TEST {'PASS' if passes else 'FAIL'}" in verified.text


def test_an_invalid_run_fails_with_its_name() -> None:
    verified = verify_performance("TEST01", run(100.0), run(100.0, valid=False))
    assert not verified.passed
    assert "test run is INVALID" in verified.text


def log(folder: Path, answers: dict[int, list[float]]) -> Path:
    folder.mkdir()
    write_json(folder / SHAPES_FILE, AnswerShapes(["y"], ["float32"], [[1, 2]]))
    lines = [
        json.dumps({"seq_id": seq, "qsl_idx": index, "data": np.asarray(values, np.float32).tobytes().hex()})
        for seq, (index, values) in enumerate(answers.items())
    ]
    (folder / LOG_FILE).write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return folder


def test_equal_answers_pass_and_a_changed_one_says_by_how_much(tmp_path: Path) -> None:
    whole = log(tmp_path / "accuracy", {0: [1, 2], 1: [3, 4], 2: [5, 6]})
    assert verify_accuracy(whole, log(tmp_path / "same", {2: [5, 6]})).passed
    changed = verify_accuracy(whole, log(tmp_path / "changed", {1: [3, 5]}))
    assert not changed.passed
    assert "mismatched = 1" in changed.text and "0.25" in changed.text
    another_order = verify_accuracy(whole, log(tmp_path / "order", {1: [3, 4.000001]}))
    assert another_order.passed and "last bits of sums = 1" in another_order.text


def test_an_answer_to_an_unknown_sample_fails(tmp_path: Path) -> None:
    whole = log(tmp_path / "accuracy", {0: [1, 2]})
    assert "missing = 1" in verify_accuracy(whole, log(tmp_path / "more", {9: [1, 2]})).text


def test_audit_settings_are_those_of_the_rules() -> None:
    assert "*.Offline.accuracy_log_rng_seed = 720381539243781796" in audit_config("TEST01", Scenario.OFFLINE)
    assert "*.SingleStream.performance_issue_same_index = 3" in audit_config("TEST04", Scenario.SINGLE_STREAM)
