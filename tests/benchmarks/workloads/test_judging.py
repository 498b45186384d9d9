"""Targets and divisions: what is met, which rule is broken, and its name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.loadgen.settings import LoadgenSettings, Scenario
from benchmarks.mlperf.rules import ModelFacts, check_division
from benchmarks.score import TaskScore
from benchmarks.workloads.registry import NAMES, find_workload
from benchmarks.workloads.targets import judge_accuracy
from graphs.errors import BadInput

RESNET50, BERT = find_workload("resnet50"), find_workload("bert")
OFFICIAL = LoadgenSettings(Scenario.SERVER, official="resnet50", latency_bound_ms=15.0)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("resnet50", 0.75695),
        ("mobilenet", 0.70242),
        ("ssd-mobilenet", 0.2178),
        ("ssd-resnet34", 0.198),
        ("retinanet", 0.37194),
        ("bert", 0.89965),
        ("rnnt", 1 - 0.08377),
        ("3d-unet", 0.85308),
        ("3d-unet-brats", 0.84447),
        ("dlrm", 0.79448),
        ("gnmt", 23.661),
    ],
)
def test_the_published_targets(name: str, bound: float) -> None:
    workload = find_workload(name)
    assert workload.name == name
    for value, met in ((bound + 1e-4, True), (bound - 1e-4, False)):
        verdict = judge_accuracy(workload, TaskScore(workload.metric, value, 10))
        assert verdict.targets[0].met is met, verdict
        assert verdict.targets[0].bound == pytest.approx(bound, abs=2e-5)


def test_every_workload_can_be_found() -> None:
    for name in NAMES:
        workload = find_workload(name)
        assert workload.rounds and workload.reference and workload.dataset_samples
    with pytest.raises(BadInput, match="expected: one of resnet50"):
        find_workload("resnet51")


def test_two_targets_are_told_apart_and_partial_data_is_said() -> None:
    verdict = judge_accuracy(BERT, TaskScore("F1", 0.9035, 10_833))
    assert [target.met for target in verdict.targets] == [True, False]
    assert verdict.ok and verdict.complete
    assert any(s.startswith("misses 99.9 % of MLPerf's FP32 model (0.90874)") for s in verdict.sentences)
    some = judge_accuracy(RESNET50, TaskScore("top-1", 0.7, 20))
    assert not some.ok and not some.complete
    assert some.sentences[-1] == "not comparable with MLPerf: its dataset has 50,000 samples"
    own = judge_accuracy(RESNET50, TaskScore("top-1", 0.7, 20), fp32=0.7)
    assert own.ok and "the FP32 model (0.7)" in own.sentences[1]


def test_less_is_better_turns_the_bound_round() -> None:
    workload = replace(RESNET50, reference=10.0, higher_is_better=False)
    assert judge_accuracy(workload, TaskScore("error", 10.05, 1)).ok
    assert not judge_accuracy(workload, TaskScore("error", 10.2, 1)).ok


def test_closed_rules_are_named() -> None:
    assert check_division(RESNET50, ModelFacts(calibrated_on="calib/"), OFFICIAL, 50_000).unofficial == []
    closed = check_division(RESNET50, ModelFacts(calibrated_on="calib/"), OFFICIAL)
    assert closed.name == "closed, unverified" and closed.reasons == []
    assert "whether calib/ is the official calibration set" in closed.unchecked
    sparse = check_division(RESNET50, ModelFacts(sparsity="2:4"), OFFICIAL)
    assert sparse.name == "open"
    assert sparse.reasons[0].startswith("open: sparsity with weight update (2:4)")
    assert (
        check_division(RESNET50, ModelFacts(data_free=True), OFFICIAL)
        .reasons[0]
        .startswith("open: calibrated on random")
    )
    assert check_division(RESNET50, ModelFacts(retrained=True), OFFICIAL).name == "open"


def test_what_makes_a_run_unofficial_is_named() -> None:
    def unofficial(settings: LoadgenSettings, samples: int | None = None) -> str:
        return "; ".join(check_division(RESNET50, ModelFacts(), settings, samples).unofficial)

    assert unofficial(OFFICIAL) == ""
    assert "--mlperf" in unofficial(replace(OFFICIAL, official=""))
    assert "shortened to 5 s" in unofficial(replace(OFFICIAL, shortened=True))
    assert "a Server bound of 100 ms: the official is 15" in unofficial(replace(OFFICIAL, latency_bound_ms=100.0))
    assert "20 samples: the official dataset has 50,000" in unofficial(OFFICIAL, 20)
    own = replace(RESNET50, rounds="")
    assert check_division(own, ModelFacts(), OFFICIAL).name.startswith("none")
