"""Predictions in the report: apart from what was measured, and never without their error."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.report.model import Report, read_report, write_report
from benchmarks.report.page import render_page
from benchmarks.report.text import summarise
from benchmarks.roofline.kernels import Kernel, Product
from benchmarks.roofline.prediction import predict
from engines.targets.boards import GPUS

LOAD = [Kernel("c", "conv", ("c",), (Product("c", "int8", "tensor", 10**9, 12544, 64, 576),), 36864, 1_000_000)]


@pytest.fixture
def predicted(report: Report) -> Report:
    targets = {
        name: dataclasses.replace(target, prediction=predict(LOAD, GPUS[board]))
        for name, target in report.targets.items()
        if (board := {"t4": "t4", "h100": "h100-sxm"}.get(name)) is not None
    }
    return dataclasses.replace(report, targets={**report.targets, **targets})


def test_the_prediction_is_a_key_of_its_own_in_report_json(predicted: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", predicted)
    targets = json.loads((tmp_path / "report.json").read_text())["targets"]
    t4 = targets["t4"]
    assert {"latency_ms", "throughput", "bound", "error_percent", "how"} <= set(t4["prediction"])
    assert t4["latency_ms"] is None and t4["throughput"] is None, "nothing predicted stands where measurements do"
    assert targets["cpu"]["prediction"] is None
    assert read_report(tmp_path / "report.json") == predicted


def test_the_page_shows_predictions_in_a_table_of_their_own(predicted: Report, report: Report) -> None:
    page = render_page(predicted)
    (table,) = re.findall(r'<table id="predictions">.*?</table>', page, re.S)
    assert "Predicted, not measured" in table and "unchecked on this generation" in table
    assert table.count("<tr title=") == 2 and table.count("±") == 4
    measured = page.split("</table>")[0]
    assert "≈" not in measured
    assert 'id="predictions"' not in render_page(report)


def test_the_terminal_labels_it_with_its_error(predicted: Report) -> None:
    stream = io.StringIO()
    summarise(predicted, Console(file=stream, width=200))
    lines = [line for line in stream.getvalue().splitlines() if "predicted" in line]
    assert len(lines) == 2
    for line in lines:
        assert "predicted, not measured:" in line and line.count("±") == 2
    assert "unchecked on this GPU generation" in lines[1]
