"""The graph in one picture: its nodes in order, what they compute in, what they cost, and where the error is.

Lanes one above the other on one axis. A graph of more nodes than ``COLUMNS`` is drawn in that many columns, each of
several nodes, so that the picture is as large for 2,000 nodes as for 200.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.compare import SQNR_CAP_DB
from benchmarks.report.charts import colour_of, figure_svg, ink
from benchmarks.report.error_shares import noise_shares
from benchmarks.report.extras import DriftRow, NodeRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 240
"""Columns of the picture at most: three pixels each on a page of usual width. Chosen."""
APART = 80
"""Columns that are drawn with gaps between them; more would be gaps alone. Chosen."""
_STRIP_INCHES, _LANE_INCHES, _REST_INCHES = 0.32, 0.95, 0.62
"""Heights in the figure: of the strip of dtypes, of a lane of values, and of what surrounds them. Chosen."""
_LEAST_DB = -20.0
"""SQNR that a result that is not finite is drawn at: below any that is. Chosen."""
Column: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True)
class Strip:
    """A value per column, in graph order. ``cost`` and ``error`` are shares in percent, ``drift`` is the lowest SQNR of
    a column in dB (NaN: exact, or nothing measured); those nobody measured are empty. ``each`` nodes make a column.
    """

    dtypes: list[str]
    cost: Column
    error: Column
    drift: Column
    cost_title: str
    each: int


def strip_of(nodes: Sequence[NodeRow], drift: Sequence[DriftRow], times_are: str) -> Strip:
    """``drift`` has a row for each node, or none. Cost is time where any is known, and ``times_are`` says what time it
    is, else multiply-accumulates.
    """
    each = max(-(-len(nodes) // COLUMNS), 1)
    cuts = range(0, len(nodes), each)
    groups = [list(range(start, min(start + each, len(nodes)))) for start in cuts]
    times = [row.milliseconds or 0.0 for row in nodes]
    timed = bool(times_are) and sum(times) > 0
    costs = _shares(times if timed else [float(row.macs) for row in nodes])
    shares = noise_shares({row.name: row.cost_db for row in nodes})
    errors = _shares([shares.get(row.name, 0.0) for row in nodes])
    levels = np.array([_level(row) for row in drift])
    return Strip(
        [_dtype_of([nodes[index].dtype for index in group], costs[group]) for group in groups],
        np.array([costs[group].sum() for group in groups]),
        np.array([errors[group].sum() for group in groups]) if shares else np.zeros(0),
        np.array([_lowest(levels[group]) for group in groups]) if len(levels) else np.zeros(0),
        "time, %" if timed else "MACs, %",
        each,
    )


def _shares(values: Sequence[float]) -> Column:
    found = np.asarray(values, np.float64)
    return 100 * found / found.sum() if found.sum() > 0 else found


def _level(row: DriftRow) -> float:
    if row.sqnr_db is None or row.sqnr_db >= SQNR_CAP_DB:
        return np.nan
    return max(row.sqnr_db, _LEAST_DB)


def _lowest(levels: Column) -> float:
    return float(np.nanmin(levels)) if not np.isnan(levels).all() else np.nan


def _dtype_of(dtypes: Sequence[str], costs: Column) -> str:
    """Of the nodes of a column, what most of its cost computes in; of equal ones what most nodes do."""
    weight = {
        dtype: (sum(c for d, c in zip(dtypes, costs, strict=True) if d == dtype), dtypes.count(dtype))
        for dtype in dtypes
    }
    return max(weight, key=lambda dtype: weight[dtype])


def graph_chart(strip: Strip, label: str) -> str:
    """The picture as inline SVG; empty for a graph without nodes."""
    if not strip.dtypes:
        return ""
    lanes: list[Callable[[Axes], None]] = [lambda axes: _bars(axes, strip, strip.cost, strip.cost_title)]
    if len(strip.error):
        lanes.append(lambda axes: _bars(axes, strip, strip.error, "error, %"))
    if len(strip.drift):
        lanes.append(lambda axes: _line(axes, strip.drift))

    def draw(figure: Figure) -> None:
        ratios = [_STRIP_INCHES, *[_LANE_INCHES] * len(lanes)]
        rows = figure.subplots(len(ratios), 1, sharex=True, gridspec_kw={"height_ratios": ratios})
        _strip(rows[0], strip)
        for axes, lane in zip(rows[1:], lanes, strict=True):
            axes.grid(axis="y", color=ink("--line"), linewidth=0.5, alpha=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
            lane(axes)
        more = f", {strip.each} to a column" if strip.each > 1 else ""
        rows[-1].set_xlabel(f"node, in graph order{more}")
        rows[-1].xaxis.set_major_formatter(lambda column, _: f"{column * strip.each:,.0f}")
        rows[-1].set_xlim(0, len(strip.dtypes))
        figure.align_ylabels(rows)

    return figure_svg(draw, label, _REST_INCHES + _STRIP_INCHES + _LANE_INCHES * len(lanes))


def _strip(axes: Axes, strip: Strip) -> None:
    _by_dtype(axes, strip, np.ones(len(strip.dtypes)))
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set_visible(False)


def _bars(axes: Axes, strip: Strip, heights: Column, title: str) -> None:
    _by_dtype(axes, strip, heights)
    axes.set_ylabel(title)
    axes.set_ylim(bottom=0)


def _by_dtype(axes: Axes, strip: Strip, heights: Column) -> None:
    """A bar per column in the colour of its precision: one path for each precision, whatever the number of columns."""
    gap = 0.12 if len(heights) <= APART else 0.0
    starts = np.arange(len(heights), dtype=np.float64)
    edges = np.append(np.stack([starts, starts + gap], axis=1).reshape(-1), len(heights))
    for dtype in dict.fromkeys(strip.dtypes):
        own = np.where([found == dtype for found in strip.dtypes], heights, 0.0)
        values = np.stack([np.zeros_like(own), own], axis=1).reshape(-1)
        axes.stairs(values, edges, fill=True, color=ink(colour_of(dtype)), linewidth=0)


def _line(axes: Axes, levels: Column) -> None:
    middles = np.arange(len(levels)) + 0.5
    known = ~np.isnan(levels)
    axes.plot(middles[known], levels[known], color=ink("--ink"), linewidth=1.0)
    if len(levels) <= APART:
        axes.scatter(middles[known], levels[known], s=8, color=ink("--ink"), linewidths=0)
    axes.set_ylabel("drift, dB")
    axes.margins(y=0.12)
