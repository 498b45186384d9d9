"""The graph in one picture: bounded whatever its size, in the colours of its precisions, drawn of what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.report.extras import DriftRow, Extras, NodeRow
from benchmarks.report.graph_chart import COLUMNS, graph_chart, strip_of
from benchmarks.report.model import Report
from benchmarks.report.page import render_page


def nodes(count: int) -> list[NodeRow]:
    return [
        NodeRow(f"n{index}", "Conv", "int8" if index % 3 else "fp16", "", 10 + index, 40.0 if index % 2 else None, 0.5)
        for index in range(count)
    ]


def drift(count: int) -> list[DriftRow]:
    return [DriftRow(f"n{index}", "Conv", 60.0 - index * 40 / count) for index in range(count)]


def test_a_small_graph_has_a_column_for_each_node() -> None:
    strip = strip_of(nodes(10), drift(10), "time, measured")
    assert strip.dtypes == ["fp16", "int8", "int8"] * 3 + ["fp16"] and strip.each == 1
    assert strip.cost == pytest.approx(np.full(10, 10.0)) and strip.cost_title == "time, %"
    assert strip.error.sum() == pytest.approx(100) and strip.error[0] == 0
    assert list(strip.drift) == [row.sqnr_db for row in drift(10)]


def test_a_large_graph_is_drawn_in_as_many_columns_and_nothing_is_lost() -> None:
    strip = strip_of(nodes(2000), drift(2000), "")
    assert len(strip.dtypes) <= COLUMNS and strip.each == 9
    assert strip.cost.sum() == pytest.approx(100) and strip.error.sum() == pytest.approx(100)
    assert strip.drift[0] == drift(2000)[8].sqnr_db, "the lowest of a column"
    assert len(graph_chart(strip, "large")) < 120_000


def test_without_times_cost_is_macs_and_what_nobody_measured_has_no_lane() -> None:
    plain = [NodeRow(row.name, row.op_type, row.dtype, macs=row.macs) for row in nodes(6)]
    strip = strip_of(plain, [], "")
    assert strip.cost_title == "MACs, %" and not len(strip.error) and not len(strip.drift)
    svg = graph_chart(strip, "plain")
    assert "MACs" in svg and "drift" not in svg and "error" not in svg
    assert graph_chart(strip_of([], [], ""), "nothing") == ""


def test_an_exact_result_is_left_out_and_one_that_is_not_finite_drawn_low() -> None:
    rows = [DriftRow("n0", "Conv", None), DriftRow("n1", "Conv", -200.0), DriftRow("n2", "Conv", 200.0)]
    strip = strip_of(nodes(3), rows, "")
    assert math.isnan(strip.drift[0]) and strip.drift[1] == -20.0 and math.isnan(strip.drift[2])


def test_the_page_shows_it_and_where_the_error_begins(report: Report) -> None:
    said = "output <y> has 31.0 dB against FP32; the error begins at conv"
    page = render_page(report, Extras(nodes=nodes(40), drift=drift(40), times_are="time, predicted", error_begins=said))
    assert "its share of time, predicted" in page and "Output &lt;y&gt; has 31.0 dB" in page
    assert page.count("<i class=") == 40
    assert "<i class=" not in render_page(report, Extras(nodes=nodes(500)))


def test_the_caption_names_what_is_drawn_and_nothing_else(report: Report) -> None:
    plain = [NodeRow(row.name, row.op_type, row.dtype, macs=row.macs) for row in nodes(6)]
    assert "its share of multiply-accumulates. <code>" in render_page(report, Extras(nodes=plain))
    assert "each measured alone. <code>" in render_page(report, Extras(nodes=nodes(6)))
