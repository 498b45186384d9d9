"""The study as one self-contained HTML page, in the style of the report."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from benchmarks.accuracy.confidence import cosine_drop
from benchmarks.plaster import charts
from benchmarks.plaster.charts import Bar, Panel
from benchmarks.plaster.study import Study, Variant
from benchmarks.published.results import Published
from benchmarks.report import formats
from benchmarks.report.charts import colour_of
from benchmarks.report.model import PlasterFigure
from benchmarks.report.page import PLASTER, page_environment, style_sheet


def render_study(study: Study) -> str:
    """The page as HTML text. Every name that comes from a model or a user is escaped."""
    return (
        page_environment()
        .get_template("study.html.j2")
        .render(
            study=study,
            style=style_sheet(),
            letters=PLASTER,
            picture=Markup(charts.precision_picture(panels(study.variants), "precision picture")),
            references=[(title, Markup(svg)) for title, svg in _references(study)],
            best=_best(study),
        )
    )


def panels(variants: Sequence[Variant]) -> list[Panel]:
    """What the picture shows, in the order in which a deployment is decided."""
    return [
        Panel(_accuracy_title(variants), [_accuracy_bar(variant) for variant in variants]),
        Panel(
            "latency of one request, p50 (less is better)",
            [_bar(v, v.latency.p50, formats.milliseconds(v.latency.p50)) for v in variants],
        ),
        Panel(
            f"throughput, batches of {variants[0].batch} (more is better)",
            [_bar(v, v.throughput, formats.rate(v.throughput)) for v in variants],
        ),
        Panel("engine file (less is better)", [_sized(variant, "engine_bytes") for variant in variants]),
        Panel("memory of one engine (less is better)", [_sized(variant, "memory_bytes") for variant in variants]),
        Panel(
            "inferences per joule (more is better)",
            [_figure_bar(variant, variant.plaster.energy) for variant in variants],
        ),
    ]


def _bar(variant: Variant, value: float | None, text: str) -> Bar:
    return Bar(variant.title, value, text, colour_of(variant.dtype))


def _figure_bar(variant: Variant, figure: PlasterFigure) -> Bar:
    return _bar(variant, figure.value, formats.significant(figure.value))


def _sized(variant: Variant, name: str) -> Bar:
    value = variant.plaster.size.details.get(name)
    return _bar(variant, value, formats.size(value))


def _accuracy_title(variants: Sequence[Variant]) -> str:
    task = variants[0].task
    if task is None:
        return "error at the worst output, 1 - cosine to FP32 (less is better)"
    return f"{task.metric} ({'more' if task.higher_is_better else 'less'} is better)"


def _accuracy_bar(variant: Variant) -> Bar:
    if variant.task is not None:
        return _bar(variant, variant.task.optimized, formats.significant(variant.task.optimized, 4))
    worst = min((o.cosine for o in variant.outputs.values() if o.cosine is not None), default=None)
    error = None if worst is None else cosine_drop(worst)
    return _bar(variant, error, "exact" if error == 0 else formats.significant(error, 2))


def _references(study: Study) -> list[tuple[str, str]]:
    """Charts of the study beside published results of its task, where there are any."""
    offline = [p for p in study.published if p.scenario == "offline"]
    single = [p for p in study.published if p.scenario == "singlestream"]
    found = []
    if offline:
        ours = [_bar(v, v.throughput, formats.rate(v.throughput)) for v in study.variants]
        theirs = [_published(p, formats.rate(p.per_accelerator)) for p in offline]
        svg = charts.reference_chart([*ours, *theirs], "reference offline", "samples/s per accelerator", "more")
        found.append((f"Throughput beside published {study.task} Offline results", svg))
    if single:
        ours = [_bar(v, v.latency.p90, formats.milliseconds(v.latency.p90)) for v in study.variants]
        theirs = [_published(p, formats.milliseconds(p.value)) for p in single]
        svg = charts.reference_chart([*ours, *theirs], "reference latency", "p90 latency of one request, ms", "less")
        found.append((f"Latency beside published {study.task} SingleStream results", svg))
    return found


def _published(result: Published, text: str) -> Bar:
    return Bar(
        result.accelerator.replace("A100-SXM-80GB MIG", "A100 MIG"),
        result.value and result.per_accelerator,
        f"{text}  {result.round}",
        "--soft",
    )


def _best(study: Study) -> dict[str, set[str]]:
    """The variants that are best at each letter (by name), where their values differ; timings that cannot be trusted
    have no best."""
    chosen = {}
    timed = ("latency", "throughput", "energy", "rate_of_learning")
    for letter, _ in PLASTER:
        if letter in timed and not study.trusted:
            continue
        less = letter in ("latency", "size", "rate_of_learning") or _lower_metric(letter, study.variants)
        known = {v.name: value for v in study.variants if (value := getattr(v.plaster, letter).value) is not None}
        best = (min if less else max)(known.values(), default=None)
        if len(set(known.values())) > 1:
            chosen[letter] = {name for name, value in known.items() if value == best}
    return chosen


def _lower_metric(letter: str, variants: Sequence[Variant]) -> bool:
    task = variants[0].task
    return letter == "accuracy" and task is not None and not task.higher_is_better
