"""What the page derives: falls of fidelity, shares, map cells."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.measurement import Latency, summarize_latency
from benchmarks.report import sentences, view
from benchmarks.report.charts import latency_chart
from benchmarks.report.extras import DriftRow, NodeRow
from benchmarks.report.model import OutputFidelity


def drift(*levels: float | None) -> list[DriftRow]:
    return [DriftRow(f"n{index}", "Conv", level) for index, level in enumerate(levels)]


def test_the_node_where_fidelity_falls_is_named_not_those_after_it() -> None:
    falls = view.worst_falls(drift(40.0, 39.5, 25.0, 24.9, 24.8))
    assert [fall.row.node for fall in falls] == ["n2", "n1", "n3", "n4"]
    assert falls[0].decibels == pytest.approx(14.5)


def test_exact_nodes_are_no_fall() -> None:
    assert view.worst_falls(drift(None, 200.0, 30.0)) == []
    assert [fall.index for fall in view.worst_falls(drift(40.0, None, 30.0))] == [2]


def test_shares_of_macs_add_up_to_one() -> None:
    nodes = [NodeRow("a", "Conv", "int8", macs=300), NodeRow("b", "Conv", "fp16", macs=100), NodeRow("c", "Add", "odd")]
    shares = view.shares(nodes)
    assert [(share.dtype, share.nodes, share.macs) for share in shares] == [
        ("int8", 1, 0.75),
        ("fp16", 1, 0.25),
        ("odd", 1, 0.0),
    ]


def test_a_wider_cell_has_more_macs() -> None:
    nodes = [
        NodeRow("a", "Conv", "int8", macs=10_000),
        NodeRow("b", "Conv", "int8", macs=100),
        NodeRow("c", "Relu", "int8"),
    ]
    widths = [cell.width for cell in view.cells(nodes)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] >= 3


def test_the_worst_output_has_the_lowest_sqnr() -> None:
    outputs = {"a": OutputFidelity(1.0, 200.0, 0.0), "b": OutputFidelity(0.9, 12.0, 1.0)}
    assert sentences.worst_output(outputs) is outputs["b"]
    assert sentences.worst_output({}) is None


@pytest.mark.parametrize("timings", [[0.002], [0.002] * 50, [1e-6, 5.0]])
def test_a_latency_chart_survives_odd_distributions(timings: list[float]) -> None:
    assert "<path" in latency_chart({"int8": summarize_latency(timings)}, "odd")


def test_no_percentiles_no_chart() -> None:
    assert latency_chart({"int8": Latency(1, 1, 1, 1, 1, 0, 0)}, "none") == ""


def test_levels_leave_exact_nodes_out_and_keep_broken_ones_on_the_chart() -> None:
    assert view.fidelity_levels(drift(200.0, None, 31.5, -200.0)) == [None, None, 31.5, -20.0]


def test_a_stretched_latency_axis_is_labelled_at_one_two_and_five() -> None:
    timings = [*np.geomspace(0.1, 0.2, 95), *np.full(10, 4.2)]
    chart = latency_chart({"int8": summarize_latency([float(t) / 1e3 for t in timings])}, "stretched")
    labels = [float(text) for text in re.findall(r">([0-9.]+)</text>", chart)]
    assert {0.1, 0.2, 0.5, 1.0, 2.0} <= set(labels)
    assert "×" not in chart and "mathdefault" not in chart
