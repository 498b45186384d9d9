"""What a GPU's engine could have shipped in, side by side, in the terminal and on the page."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.report.model import FormSummary, OutputFidelity, Percentiles, Report, read_report, write_report
from benchmarks.report.page import render_page
from benchmarks.report.text import summarise

FORMS = {
    "fp16": FormSummary(failed="the engine's process was ended by SIGSEGV"),
    "int8": FormSummary(
        Percentiles(1.25, 1.5, 2.0),
        4321.0,
        {"logits": OutputFidelity(0.999, 33.3, 0.1)},
        inferences_per_joule=21.5,
        compute_ms=0.75,
    ),
}


@pytest.fixture
def measured(report: Report) -> Report:
    t4 = dataclasses.replace(
        report.targets["t4"], status="measured", forms=FORMS, kept_precision="int8", int8_native=0.9
    )
    return dataclasses.replace(report, targets={**report.targets, "t4": t4})


def test_the_terminal_has_a_line_per_form(measured: Report) -> None:
    stream = io.StringIO()
    summarise(measured, Console(file=stream, width=200))
    text = stream.getvalue()
    assert "int8 (ships): p50 1.25 ms, 4,321 /s, 21.5 inferences/J, SQNR 33.3 dB" in text
    assert "fp16: the engine's process was ended by SIGSEGV" in text


def test_the_page_has_a_table_of_them(measured: Report, report: Report) -> None:
    (table,) = re.findall(r'<table class="forms">.*?</table>', render_page(measured), re.S)
    assert "SIGSEGV" in table and "33.3 dB" in table and "90.0 %" in table
    assert '<table class="forms">' not in render_page(report)


def test_they_are_kept_in_report_json(measured: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", measured)
    assert read_report(tmp_path / "report.json") == measured
