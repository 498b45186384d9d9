"""The pictures of a study: every precision on every axis at once, and the study beside published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.report.charts import figure_svg, ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES, ROW_INCHES, FRAME_INCHES = 0.34, 0.235, 0.5
"""Heights in the figure: of what surrounds a panel, of one bar, and of the frame. Chosen."""


@dataclass(frozen=True)
class Bar:
    """One bar: ``colour`` is a CSS variable; a value of None leaves the row empty and ``text`` says why."""

    name: str
    value: float | None
    text: str
    colour: str


@dataclass(frozen=True)
class Panel:
    """One metric: its title says the unit and which direction is better."""

    title: str
    bars: Sequence[Bar]


def precision_picture(panels: Sequence[Panel], label: str) -> str:
    """One panel per metric, one horizontal bar per variant, the value written at its end."""
    shown = [panel for panel in panels if any(bar.value is not None for bar in panel.bars)]
    if not shown:
        return ""

    def draw(figure: Figure) -> None:
        for axes, panel in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
            _panel(axes, panel)

    rows = sum(len(panel.bars) for panel in shown)
    return figure_svg(draw, label, height=PANEL_INCHES * len(shown) + ROW_INCHES * rows)


def _panel(axes: Axes, panel: Panel) -> None:
    largest = max((bar.value or 0.0 for bar in panel.bars), default=0.0) or 1.0
    for row, bar in enumerate(panel.bars):
        value = max(bar.value or 0.0, 0.0)
        axes.barh(row, value, height=0.72, color=ink(bar.colour), alpha=0.85)
        axes.text(value + largest * 0.012, row, bar.text, va="center", ha="left", color=ink("--ink"), fontsize=10)
    axes.set_yticks(range(len(panel.bars)), [bar.name for bar in panel.bars])
    axes.set_xlim(0, largest * 1.34)
    axes.set_ylim(len(panel.bars) - 0.5, -0.5)
    axes.set_xticks([])
    axes.tick_params(length=0, labelcolor=ink("--ink"))
    axes.spines["bottom"].set_visible(False)
    axes.set_title(panel.title, loc="left", fontsize=10.5, color=ink("--soft"), pad=4)


def reference_chart(bars: Sequence[Bar], label: str, axis: str, better: str) -> str:
    """Ours and published values on one logarithmic axis, best first; a published value is a dashed reference line.

    ``better`` is "more" or "less".
    """
    ordered = sorted((bar for bar in bars if bar.value), key=lambda bar: bar.value or 0.0, reverse=better == "more")
    if not ordered:
        return ""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, bar in enumerate(ordered):
            _reference(axes, row, bar)
        axes.set_xscale("log")
        low, high = min(bar.value or 0.0 for bar in ordered), max(bar.value or 0.0 for bar in ordered)
        axes.set_xlim(low / 1.6, high * (high / low) ** 0.42 * 1.3)
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.set_yticks(range(len(ordered)), [bar.name for bar in ordered])
        axes.tick_params(length=0, labelcolor=ink("--ink"), which="both")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.set_xlabel(axis)

    return figure_svg(draw, label, height=FRAME_INCHES + 0.26 * len(ordered))


def _reference(axes: Axes, row: int, bar: Bar) -> None:
    value, ours = bar.value or 0.0, bar.colour != "--soft"
    if ours:
        axes.scatter([value], [row], s=52, color=ink(bar.colour), linewidths=0, zorder=3)
    else:
        axes.axvline(value, color=ink("--line"), linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.scatter([value], [row], s=34, marker="|", color=ink("--soft"), linewidths=2, zorder=3)
    axes.annotate(
        bar.text, (value, row), textcoords="offset points", xytext=(8, 0), va="center", color=ink("--ink"), fontsize=10
    )
