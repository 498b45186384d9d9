"""A model card in Markdown, from a bundle's report: what the model is, how it was made, what it reached.

Sections after Mitchell et al., "Model Cards for Model Reporting" (2019), as far as a report knows them; what only the
model's owner knows is left to fill in.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.report import formats
from benchmarks.report.model import Report

_TEMPLATES = Path(__file__).parent / "templates"


def model_card(report: Report, name: str) -> str:
    """Markdown text; names that come from a model or a user are escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not HTML: ``cell`` does it
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cell": cell,
        "ms": formats.milliseconds,
        "rate": formats.rate,
        "size": formats.size,
        "ratio": formats.ratio,
        "percent": formats.percent,
        "count": formats.count,
        "significant": formats.significant,
        "decibels": formats.decibels,
        "cosine": formats.cosine,
    }
    return environment.get_template("model_card.md.j2").render(report=report, name=name)


def cell(text: object) -> str:
    """``text`` as one cell of a table, or one line: no line break, nothing that Markdown or HTML would read."""
    flat = " ".join(str(text).split())
    for mark in "\\`*_{}[]<>|#":
        flat = flat.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return flat
