"""The report in a terminal: the verdict first, then one line per thing a user asks next. Made for 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarks.report import formats, sentences
from benchmarks.report.model import FormSummary, LoadgenSummary, Report, TargetSummary
from benchmarks.roofline.prediction import Prediction

_STATUS_STYLE = {"ok": "bold green", "over_budget": "bold red", "partial": "bold yellow"}
_TARGET_STYLE = {"measured": "green", "built": "cyan", "skipped": "yellow"}


def summarise(report: Report, console: Console, bundle: Path | None = None) -> None:
    """Print the report to ``console``; plain text where that is no terminal. ``bundle`` is named as the result.

    Names from a model are printed as they are, never read as rich markup.
    """
    _verdict(report, console)
    if report.targets:
        console.print(Padding(_targets(report.targets), (1, 0, 0, 1)))
    for label, line in _lines(report):
        _line(console, label, line)
    _forms(report, console)
    _unmeasured(report, console)
    if bundle is not None:
        console.print()
        _line(console, "bundle", str(bundle))
        _line(console, "page", str(bundle / "report.html"))


def _verdict(report: Report, console: Console) -> None:
    seconds = formats.seconds(report.run_seconds) if report.timings else ""
    head = Text.assemble(
        (formats.status_title(report.status), _STATUS_STYLE.get(report.status, "bold")),
        f"  {report.model.name}, {report.precision.requested}",
        f", {seconds}" if seconds else "",
    )
    console.print(head)
    if sentences.uncalibrated(report):
        warning = (
            "NOT CALIBRATED: ranges come from synthetic inputs; accuracy says nothing. Run again with --data PATH."
        )
        console.print(Text(warning, "bold red"))
    for reason in report.verdict.reasons:
        _bullet(console, reason)
    for warning in report.warnings:
        _bullet(console, warning, "yellow")


def _bullet(console: Console, text: str, style: str = "") -> None:
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(" -"), Text(text, style))
    console.print(table)


def _targets(targets: dict[str, TargetSummary]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("target", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for title in ("p50", "p99", "throughput", "vs FP32", "size", "SQNR"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, target in targets.items():
        latency = target.latency_ms
        table.add_row(
            Text(name),
            Text(target.status, _TARGET_STYLE.get(target.status, "")),
            formats.milliseconds(latency.p50 if latency else None),
            formats.milliseconds(latency.p99 if latency else None),
            formats.rate(target.throughput),
            formats.ratio(target.speedup_vs_fp32),
            formats.size(target.engine_bytes),
            _fidelity(target),
        )
    return table


def _fidelity(target: TargetSummary) -> str:
    shown = formats.decibels(sentences.worst_output(target.accuracy))
    return f"{shown} *" if sentences.simulated(target) else shown


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    if any(sentences.simulated(target) for target in report.targets.values()):
        yield "", "* simulated here, not measured on that GPU"
    if report.model.quantization:
        yield "the model", report.model.quantization
    yield "precision", _precision(report)
    yield from _accuracy(report)
    if report.update is not None:
        yield from (("update", line) for line in sentences.update_lines(report.update, report.run_seconds))
    yield from ((name, said) for name, target in report.targets.items() if (said := sentences.timed_earlier(target)))
    for name, summary in report.targets.items():
        if said := sentences.noise(summary):
            yield name, said
    for target, scenarios in report.loadgen.items():
        for scenario, run in scenarios.items():
            yield "LoadGen", f"{target} {scenario}: {_loadgen(run)}"


def _precision(report: Report) -> str:
    nodes = ", ".join(f"{count} {dtype}" for dtype, count in report.precision.nodes.items() if count)
    main = report.precision.main_share
    share = f"; {formats.percent(main[1])} of MACs in {main[0].upper()}" if main else ""
    sparse = f"; {report.precision.sparse_nodes} with 2:4 weights" if report.precision.sparse_nodes else ""
    return f"{nodes or 'no'} nodes{share}{sparse}"


def _accuracy(report: Report) -> Iterator[tuple[str, str]]:
    accuracy = report.accuracy
    if accuracy is None:
        yield "accuracy", "not measured"
        return
    if task := accuracy.task:
        sides = f"{formats.significant(task.fp32, 4)} in FP32, {formats.significant(task.optimized, 4)} optimized"
        drop = ", ".join(filter(None, [f"drop {sentences.drop(task)}", sentences.sampled(task)]))
        yield "accuracy", f"{task.metric}: {sides}, {drop}"
    if accuracy.budget is not None and accuracy.max_drop is not None:
        yield "budget", sentences.budget(accuracy.budget, accuracy.max_drop)
    for name, search in report.search.items():
        yield "search", f"{name}: {sentences.search(search)}"
    for name, output in accuracy.outputs.items():
        if output.failure:
            yield "accuracy", f"{name}: {output.failure}"
            continue
        agreement = "" if output.agreement is None else f", agreement {formats.percent(output.agreement)}"
        figures = f"SQNR {formats.decibels(output)}, cosine {formats.cosine(output.cosine)}{agreement}"
        yield "accuracy", f"{name}: {figures} ({accuracy.samples:,} samples)"


def _loadgen(run: LoadgenSummary) -> str:
    verdict = "VALID" if run.valid else "INVALID"
    why = "" if run.valid or not run.reasons else f" ({' '.join(run.reasons)})"
    metric = "" if run.metric.split()[-1] in run.unit else f" {run.metric}"  # "queries/s" says what is counted
    return f"{verdict}, {formats.significant(run.value)} {run.unit}{metric}{why}"


def _forms(report: Report, console: Console) -> None:
    """What a GPU's engine was chosen from, and what was expected of it."""
    for name, target in report.targets.items():
        for form, found in target.forms.items():
            shipped = " (ships)" if form == target.kept_precision else ""
            _line(console, name, f"{form}{shipped}: {found.failed or _form(found)}")
            if found.first_difference is not None:
                _line(console, "", found.first_difference.sentence, "yellow")
        if target.forms and target.prediction is not None:
            _line(console, name, _predicted(target.prediction))


def _form(found: FormSummary) -> str:
    p50 = formats.milliseconds(found.latency_ms.p50 if found.latency_ms else None)
    energy = f", {formats.significant(found.inferences_per_joule)} inferences/J" if found.inferences_per_joule else ""
    worst = formats.decibels(sentences.worst_output(found.accuracy))
    return f"p50 {p50}, {formats.rate(found.throughput)}{energy}, SQNR {worst}"


def _unmeasured(report: Report, console: Console) -> None:
    for name, target in report.targets.items():
        if target.status == "measured" or not (target.reason or target.next_command):
            continue
        _line(console, name, f"{target.status}: {target.reason}" if target.reason else target.status)
        if target.prediction is not None:
            _line(console, "", _predicted(target.prediction))
        if target.next_command:
            _line(console, "", target.next_command, "bold")


def _predicted(found: Prediction) -> str:
    latency = f"{formats.milliseconds(found.latency_ms)} ± {found.latency_error_percent:.0f} % at batch 1"
    rate = f"{formats.rate(found.throughput)} ± {found.error_percent:.0f} % at batch {found.batch}"
    unchecked = "" if found.checked else "; unchecked on this GPU generation"
    gain = "" if found.sparse_speedup is None else f"; 2:4: at most {found.sparse_speedup:.3g} times that"
    return f"predicted, not measured: {latency}, {rate}, {found.bound} bound{gain}{unchecked}"


def _line(console: Console, label: str, text: str, style: str = "") -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=9, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(label, "dim"), Text(text, style))
    console.print(Padding(table, (0, 0, 0, 1)))
