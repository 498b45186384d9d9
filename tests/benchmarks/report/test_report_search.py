"""What the report says of a budget and of the search behind it."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.report.budget import BudgetSummary, PrecisionSearch, SearchPoint
from benchmarks.report.model import Report, read_report, write_report
from benchmarks.report.page import render_page
from benchmarks.report.text import summarise
from benchmarks.report.trade_chart import trade_chart

POINTS = [
    SearchPoint(1.0, 0.06, None, False, False, {"t4": 0.5, "a100": 0.2}, 9_000_000, plan="plans/tensorrt-01.json"),
    SearchPoint(
        0.857, 0.0007, 0.004, True, True, {"t4": 0.51, "a100": 0.21}, 12_000_000, True, "plans/tensorrt-02.json"
    ),
]
SEARCH = PrecisionSearch(POINTS, 0.005, True, "latency", "time <&>", 46.6, 349.0)
HELD = BudgetSummary("surely", 0.0007, 0.004, 0.95, 1400, 10, "Tango's score interval of paired answers, 1,400 samples")


@pytest.fixture
def searched(report: Report) -> Report:
    assert report.accuracy is not None
    accuracy = dataclasses.replace(report.accuracy, max_drop=0.005, budget=HELD)
    return dataclasses.replace(report, accuracy=accuracy, search={"tensorrt": SEARCH})


def test_it_comes_back_equal(searched: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", searched)
    assert read_report(tmp_path / "report.json") == searched


def test_the_terminal_says_whether_the_budget_holds_and_what_that_took(searched: Report) -> None:
    shown = StringIO()
    summarise(searched, Console(file=shown, width=200))
    assert "within 0.5 %, surely: a drop of 0.07 %, at most 0.4 % with 95 % confidence" in shown.getvalue()
    assert (
        "tensorrt: 2 forms measured for latency" in shown.getvalue() and "85.7 % of MACs quantized" in shown.getvalue()
    )


@pytest.mark.parametrize(("verdict", "words"), [("on_samples", "not surely on others"), ("missed", "0.5 % missed")])
def test_other_verdicts(searched: Report, verdict: str, words: str) -> None:
    assert searched.accuracy is not None
    budget = dataclasses.replace(HELD, verdict=verdict, upper=None)
    accuracy = dataclasses.replace(searched.accuracy, budget=budget)
    assert words in render_page(dataclasses.replace(searched, accuracy=accuracy))


def test_the_page_draws_the_trade_and_names_the_plans(searched: Report) -> None:
    page = render_page(searched)
    assert "What each accuracy costs" in page and "plans/tensorrt-02.json" in page and "time &lt;&amp;&gt;" in page
    assert "What each accuracy costs" not in render_page(dataclasses.replace(searched, search={}))


def test_one_point_is_no_trade() -> None:
    assert "<svg" in trade_chart(SEARCH, "a")
    assert not trade_chart(dataclasses.replace(SEARCH, points=POINTS[:1]), "a")
