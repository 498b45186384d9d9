"""The report as one self-contained HTML file: no network, no script, no font but the reader's own."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.report import charts, formats, sentences, view
from benchmarks.report.extras import Extras
from benchmarks.report.graph_chart import graph_chart, strip_of
from benchmarks.report.model import FormSummary, Report, TargetSummary
from benchmarks.report.trade_chart import trade_chart

_TEMPLATES = Path(__file__).parent / "templates"
_COMMAND = re.compile(r"`([^`]+)`")
PLASTER = (
    ("programmability", "Programmability"),
    ("latency", "Latency"),
    ("accuracy", "Accuracy"),
    ("size", "Size"),
    ("throughput", "Throughput"),
    ("energy", "Energy"),
    ("rate_of_learning", "Rate of learning"),
)


def render_page(report: Report, extras: Extras | None = None) -> str:
    """The page as HTML text. Every name that comes from a model or a user is escaped.

    Sections without material are left out, except targets, accuracy and LoadGen, which then say what is missing.
    """
    extras = extras or Extras()
    environment = page_environment()
    worst = view.worst_falls(extras.drift)
    return environment.get_template("page.html.j2").render(
        report=report,
        extras=extras,
        style=style_sheet(),
        uncalibrated=sentences.uncalibrated(report),
        tiles=view.tiles(report),
        by_latency=any("latency" in run.metric for runs in report.loadgen.values() for run in runs.values()),
        cells=view.cells(extras.nodes),
        graph_chart=Markup(graph_chart(strip_of(extras.nodes, extras.drift, extras.times_are), "graph in order")),
        shares=view.shares(extras.nodes),
        worst=worst,
        errors=view.error_shares(extras.nodes),
        layers={name: view.join_layers(rows, extras.nodes) for name, rows in extras.layers.items()},
        plaster=[(letter, title, getattr(report.plaster, letter, None)) for letter, title in PLASTER],
        latency_charts=_latency_charts(extras),
        trade_charts={name: Markup(trade_chart(found, f"trade {name}")) for name, found in report.search.items()},
        drift_chart=Markup(
            charts.drift_chart(view.fidelity_levels(extras.drift), [fall.index for fall in worst[:5]], "drift")
        ),
    )


def style_sheet() -> Markup:
    """The pages' one style sheet."""
    return Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))


def _latency_charts(extras: Extras) -> dict[str, Markup]:
    # Charts hold numbers and our own labels only, so their SVG needs no escaping.
    return {
        target: Markup(charts.latency_chart(series, f"latency {index}"))
        for index, (target, series) in enumerate(extras.latencies.items())
        if any(latency.quantiles_ms for latency in series.values())
    }


def _with_code(text: str) -> Markup:
    """A sentence with its commands, which stand between backticks, set as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(text))))


def page_environment() -> Environment:
    """Templates of ``templates/`` with the filters that make numbers readable; everything is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        significant=formats.significant,
        count=formats.count,
        bytes=formats.size,
        ms=formats.milliseconds,
        duration=formats.seconds,
        rate=formats.rate,
        ratio=formats.ratio,
        percent=formats.percent,
        decibels=formats.decibels,
        cosine=formats.cosine,
        digest=formats.digest,
        status_title=formats.status_title,
        code=_with_code,
        drop=sentences.drop,
        sampled=sentences.sampled,
        budget=sentences.budget,
        searched=sentences.search,
        update_lines=sentences.update_lines,
        timed_earlier=sentences.timed_earlier,
        percentage=sentences.percentage,
        layer_counts=view.layer_counts,
        target_accuracy=_target_accuracy,
        dtype_class=_dtype_class,
        series_colour=charts.colour_of,
    )
    return environment


def _target_accuracy(target: TargetSummary | FormSummary) -> str:
    """The worst output's SQNR on this engine, or of its stand-in, marked so."""
    worst = sentences.worst_output(target.accuracy)
    if worst is None:
        return formats.MISSING
    return formats.decibels(worst)


def _dtype_class(dtype: str) -> str:
    """The CSS class of a dtype; an unknown one has the neutral colour."""
    return dtype if dtype in view.DTYPES else "other"
