"""report.json: the names are a contract, and what is written is what is read."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from benchmarks.accuracy.compare import OutputAccuracy
from benchmarks.report.model import OutputFidelity, PrecisionSummary, Report, read_report, write_report
from graphs.errors import BadInput

CONTRACT = {
    "": "status verdict calibrated model precision accuracy targets loadgen plaster timings peak_rss_mb",
    "verdict": "ok reasons",
    "model": "name digest parameters flops bytes",
    "precision": "requested nodes int8_mac_share",
    "precision.nodes": "int8 fp16 fp32",
    "accuracy": "samples outputs task",
    "accuracy.outputs.logits": "cosine sqnr_db max_abs agreement",
    "accuracy.task": "metric fp32 optimized drop ci95",
    "targets.cpu": "backend status reason engine engine_bytes build_seconds latency_ms throughput speedup_vs_fp32 "
    "kept_precision why",
    "targets.cpu.latency_ms": "p50 p90 p99",
    "loadgen.cpu.offline": "valid metric value reasons p50 p90 p99 samples duration_s log_dir",
    "plaster": "programmability latency accuracy size throughput energy rate_of_learning",
    "plaster.energy": "value unit how",
}


@pytest.mark.parametrize("place", CONTRACT)
def test_the_contract_names_are_there(report: Report, tmp_path: Path, place: str) -> None:
    write_report(tmp_path / "report.json", report)
    found = json.loads((tmp_path / "report.json").read_text())
    for part in place.split(".") if place else ():
        found = found[part]
    assert set(CONTRACT[place].split()) <= set(found)


def test_a_report_comes_back_equal(report: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


def test_a_report_with_nothing_measured_comes_back_equal(report: Report, tmp_path: Path) -> None:
    bare = dataclasses.replace(report, accuracy=None, plaster=None, peak_rss_mb=None, targets={}, loadgen={})
    write_report(tmp_path / "report.json", bare)
    assert read_report(tmp_path / "report.json") == bare


def test_an_unknown_status_is_refused_with_the_file_named(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, report)
    path.write_text(path.read_text().replace('"partial"', '"splendid"'))
    with pytest.raises(BadInput, match=r"report\.json.*splendid"):
        read_report(path)


def test_a_failed_output_keeps_its_reason_and_has_a_json_form(report: Report, tmp_path: Path) -> None:
    failed = OutputFidelity.of(OutputAccuracy(0.0, -200.0, math.inf, 0.1, "same arg-max", "3 values are NaN"))
    assert failed.max_abs is None
    assert failed.failure == "3 values are NaN"
    assert report.accuracy is not None
    broken = dataclasses.replace(report, accuracy=dataclasses.replace(report.accuracy, outputs={"logits": failed}))
    write_report(tmp_path / "report.json", broken)
    assert read_report(tmp_path / "report.json") == broken


def test_node_counts_always_name_the_three_usual_types() -> None:
    summary = PrecisionSummary.of("fp8", ["fp8", "fp8", "fp16"], None)
    assert summary.nodes == {"int8": 0, "fp16": 1, "fp32": 0, "fp8": 2}
