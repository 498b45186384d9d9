"""The published reference results: known values, sources, and a task nobody submitted."""

from __future__ import annotations

import pytest

from benchmarks.published.results import published_results, published_tasks
from graphs.errors import BadInput


def test_known_results_of_resnet50() -> None:
    offline = {p.accelerator: p for p in published_results("resnet50") if p.scenario == "offline"}
    assert offline["T4"].value == pytest.approx(6035.57)
    assert offline["A100-SXM-80GB"].value == pytest.approx(39830.1)
    assert offline["A30"].value == pytest.approx(18265)
    assert "Xavier NX" in offline
    assert offline["T4"].round == "v0.7"


def test_a_rate_of_eight_is_also_given_for_one() -> None:
    server = next(p for p in published_results("resnet50") if p.scenario == "server" and p.accelerator == "T4")
    assert server.accelerators == 8
    assert server.per_accelerator == pytest.approx(44504.81 / 8)


def test_every_result_names_its_log() -> None:
    for task in published_tasks():
        for result in published_results(task):
            assert result.source.startswith("mlcommons/inference_results_v")
            assert result.source.endswith("mlperf_log_summary.txt")
            assert result.value > 0


def test_an_unknown_task_lists_those_there_are() -> None:
    with pytest.raises(BadInput, match="no published results of task 'vgg'") as caught:
        published_results("vgg")
    assert "resnet50" in caught.value.expected
