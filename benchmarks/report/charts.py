"""Charts as inline SVG. Colours are CSS variables, so that one file reads well in light and in dark.

No text that comes from a model is drawn; names stand in the HTML around a chart, where they are escaped.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Latency
from graphs.digests import sha256

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray: TypeAlias = NDArray[np.float64]

# matplotlib takes no CSS variable, so each is drawn in a colour that stands for it and replaced in the SVG text.
_STAND_INS = {
    "--ink": "#010203",
    "--soft": "#010204",
    "--line": "#010205",
    "--int8": "#010206",
    "--fp16": "#010207",
    "--fp32": "#010208",
    "--bf16": "#010209",
    "--fp8": "#01020a",
    "--bad": "#01020b",
    "--paper": "#01020c",
}
_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "axes.edgecolor": _STAND_INS["--line"],
    "axes.labelcolor": _STAND_INS["--soft"],
    "xtick.color": _STAND_INS["--line"],
    "ytick.color": _STAND_INS["--line"],
    "xtick.labelcolor": _STAND_INS["--soft"],
    "ytick.labelcolor": _STAND_INS["--soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
}
# Small enough that its text stays readable at a 400 px page, where the drawing is not scaled up.
_WIDTH_INCHES, _HEIGHT_INCHES = 5.4, 2.7


_DECIMALS = re.compile(r"(\.\d\d)\d+")
"""Of a path's coordinates, two decimals are a fiftieth of a pixel; the others were half of the page."""
STRETCH = 5.0
"""A p99 this many times the median makes the latency axis logarithmic. Chosen."""


DOTTED = 400
"""Results that are drawn as dots on their line; more would hide it, and each dot takes 120 bytes of the page.
Chosen."""


def colour_of(series: str) -> str:
    """The CSS variable of a series or dtype name; an unknown one gets the ink."""
    name = f"--{series.lower()}"
    return name if name in _STAND_INS else "--ink"


def latency_chart(series: Mapping[str, Latency], label: str) -> str:
    """Distribution of latencies in milliseconds, one filled outline per series, with p50 and p99 marked.

    Drawn from the percentiles. The axis ends at the largest p99, so that one outlier does not flatten the picture, and
    is logarithmic where p99 lies far above the median.
    """
    drawn = {name: np.asarray(latency.quantiles_ms) for name, latency in series.items() if latency.quantiles_ms}
    if not drawn:
        return ""

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        low = min(float(quantiles[0]) for quantiles in drawn.values())
        high = max(float(quantiles[99]) for quantiles in drawn.values())
        stretched = high > STRETCH * max(float(quantiles[50]) for quantiles in drawn.values())
        edges = _log_edges(low, high) if stretched else _linear_edges(low, high)
        for name, quantiles in drawn.items():
            _distribution(axes, quantiles, edges, _STAND_INS[colour_of(name)])
        axes.set_xlabel("latency, ms")
        axes.set_ylabel("share of runs, %")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        if stretched:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # its own labels at 2, 3, 4 … overlap
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return _svg(draw, label)


def _linear_edges(low: float, high: float) -> FloatArray:
    margin = max((high - low) * 0.04, high * 1e-3, 1e-9)
    return np.linspace(low - margin, high + margin, 61)


def _log_edges(low: float, high: float) -> FloatArray:
    return np.geomspace(max(low, 1e-6) / 1.05, high * 1.05, 61)


def _distribution(axes: Axes, quantiles: FloatArray, edges: FloatArray, colour: str) -> None:
    shares = np.diff(np.interp(edges, quantiles, np.arange(101.0)))
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.28)
    axes.stairs(shares, edges, color=colour, linewidth=1.2)
    for percentile, style in ((50, "-"), (99, ":")):
        axes.axvline(float(quantiles[percentile]), color=colour, linewidth=1.1, linestyle=style)


def drift_chart(sqnr_db: Sequence[float | None], marked: Sequence[int], label: str) -> str:
    """SQNR of every node's output against FP32, in graph order; ``marked`` positions are numbered 1, 2, 3, …

    An exact output (None) is left out.
    """
    points = [(index, value) for index, value in enumerate(sqnr_db) if value is not None]
    if not points:
        return ""

    def draw(axes: Axes) -> None:
        xs, ys = zip(*points, strict=True)
        line = "--line" if len(points) <= DOTTED else "--ink"
        axes.plot(xs, ys, color=_STAND_INS[line], linewidth=0.9, zorder=1)
        if len(points) <= DOTTED:
            axes.scatter(xs, ys, s=9, color=_STAND_INS["--ink"], linewidths=0, zorder=2)
        for rank, index in enumerate(marked, start=1):
            _mark(axes, index, sqnr_db[index], rank)
        axes.set_xlabel("node, in graph order")
        axes.set_ylabel("SQNR, dB")
        axes.margins(x=0.02, y=0.12)

    return _svg(draw, label)


def _mark(axes: Axes, index: int, value: float | None, rank: int) -> None:
    if value is None:
        return
    axes.scatter([index], [value], s=30, color=_STAND_INS["--bad"], linewidths=0, zorder=3)
    axes.annotate(
        str(rank), (index, value), textcoords="offset points", xytext=(0, -12), ha="center", color=_STAND_INS["--bad"]
    )


def _svg(draw: Callable[[Axes], None], label: str) -> str:
    def draw_one(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.grid(axis="y", color=_STAND_INS["--line"], linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        draw(axes)

    return figure_svg(draw_one, label)


def ink(variable: str) -> str:
    """The colour to draw with that becomes the CSS ``variable`` (``"--int8"``)."""
    return _STAND_INS[variable]


def load_charts() -> None:
    """Load the library that draws, which takes half a second, where there is time for it."""
    _matplotlib()
    import matplotlib.figure  # noqa: F401


def figure_svg(draw: Callable[[Figure], None], label: str, height: float = _HEIGHT_INCHES) -> str:
    """An inline SVG of the page's chart width and of ``height`` inches; ``label`` makes its ids unique in a page."""
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    settings: Any = {**_RC, "svg.hashsalt": label}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        draw(figure)
        return _inline(_save(figure), label)


@cache
def _matplotlib() -> Any:
    """The library. Where HOME cannot be written, as a service's, its list of fonts is made in a folder that goes again:
    by itself it tells of that in three lines, and leaves a folder behind.
    """
    with ExitStack() as stack:
        if "MPLCONFIGDIR" not in os.environ and not all(map(_may_be_made, _matplotlib_folders())):
            os.environ["MPLCONFIGDIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="enginewright-"))
            stack.callback(os.environ.pop, "MPLCONFIGDIR")
        import matplotlib.font_manager

    return matplotlib


def _matplotlib_folders() -> Iterator[Path]:
    for variable, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        given = os.environ.get(variable)
        yield (Path(given) if given else Path("~", usual).expanduser()) / "matplotlib"


def _may_be_made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _save(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _inline(document: str, label: str) -> str:
    """The ``<svg>`` element alone, with colours as variables, ids that are unique in a page, and no fixed size."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for variable, colour in _STAND_INS.items():
        svg = svg.replace(colour, f"var({variable})")
    prefix = "c" + sha256(label.encode())[:8]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r' d="[^"]*"', lambda path: _DECIMALS.sub(r"\1", path[0]), svg)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    box = view_box.group(0) if view_box else ""
    return re.sub(r"<svg[^>]*>", f'<svg class="chart" aria-hidden="true" {box}>', svg, count=1)
