"""The trade of accuracy against latency that a search measured, as inline SVG."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.report.budget import PrecisionSearch, SearchPoint
from benchmarks.report.charts import figure_svg, ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def trade_chart(search: PrecisionSearch, label: str) -> str:
    """Drop over latency (of several targets relative to the slowest point, averaged), or over size where no latency is
    known. Whiskers reach up to the bound of the drop, the line is the budget, the filled ring ships. Empty for fewer
    than two points.
    """
    if len(search.points) < 2:
        return ""
    timed = all(point.latency_ms for point in search.points)
    targets = list(search.points[0].latency_ms)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.grid(axis="y", color=ink("--line"), linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.axhline(100 * search.max_drop, color=ink("--bad"), linewidth=1.0, linestyle=":")
        for point, x in zip(search.points, _places(search, timed), strict=True):
            colour = ink("--int8" if point.ok else "--bad")
            drop = 100 * point.drop
            if point.upper is not None:
                axes.plot([x, x], [drop, 100 * point.upper], color=colour, linewidth=1.0, alpha=0.5)
            face = colour if point.chosen else ink("--paper")
            axes.scatter([x], [drop], s=34, facecolors=face, edgecolors=colour, linewidths=1.3, zorder=3)
        axes.set_ylabel("drop, % of FP32")
        axes.set_xlabel(_axis(targets) if timed else "size of the graph, MB")
        axes.margins(x=0.06, y=0.14)

    return figure_svg(draw, label)


def _places(search: PrecisionSearch, timed: bool) -> list[float]:
    if not timed:
        return [point.bytes / 1e6 for point in search.points]
    targets = list(search.points[0].latency_ms)
    if len(targets) == 1:
        return [point.latency_ms[targets[0]] for point in search.points]
    slowest = {target: max(point.latency_ms[target] for point in search.points) or 1.0 for target in targets}

    def relative(point: SearchPoint) -> float:
        return mean(point.latency_ms[target] / slowest[target] for target in targets)

    return [relative(point) for point in search.points]


def _axis(targets: list[str]) -> str:
    if targets == ["cpu"]:
        return "latency on this CPU, ms"
    if len(targets) == 1:
        return "predicted latency, ms"
    return f"predicted latency, mean of {len(targets)} targets, slowest form = 1"
