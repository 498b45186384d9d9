"""A comparison on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.report import formats
from benchmarks.report.model import OutputFidelity
from optimizer.verbs.compare.sides import Comparison
from optimizer.verbs.engine_tables import render_differences

if TYPE_CHECKING:
    from rich.console import Console


def render(found: Comparison, console: Console) -> None:
    """Print a table of the two, the accuracy of each output, and what differs between GPU engines."""
    _render_runs(found, console)
    render_differences(found.engines, console)
    for outcome in found.gates:
        word, style = ("ok  ", None) if outcome.failed is False else ("FAIL", "bold red")
        console.print(f"{word} {outcome.gate}: {outcome.said}", style=style, markup=False)


def _render_runs(found: Comparison, console: Console) -> None:
    from rich.table import Table

    if found.first is None or found.second is None or found.accuracy is None or found.steadiness is None:
        console.print("nothing was run: they have no engine in common that runs here")
        return
    table = Table("", "p50", "p99", "size", box=None, pad_edge=False)
    for side in (found.first, found.second):
        latency = side.latency_ms
        times = formats.milliseconds(latency.p50), formats.milliseconds(latency.p99)
        table.add_row(side.path, *times, formats.size(side.bytes))
    console.print(table)
    for side in (found.first, found.second):
        if side.ran:
            console.print(f"{side.path}: {side.ran}", style="yellow", markup=False)
    ratio = found.steadiness.speedup["second"]
    console.print(
        f"on {found.target} the second is {ratio.value:.2f}× as fast as the first "
        f"(95 % interval {ratio.low:.2f} to {ratio.high:.2f}); accuracy of the second against the first:"
    )
    for name, output in found.accuracy.outputs.items():
        shown = formats.decibels(OutputFidelity.of(output))
        console.print(
            f"{name}: cosine {output.cosine:.6f}  SQNR {shown}  max error {output.max_abs:.3g}  "
            f"agreement {output.agreement:.4f} ({output.agreement_kind})",
            markup=False,
        )
    if (task := found.task) is not None:
        between = f", 95 % interval of the drop {task.ci95[0]:+.4f} to {task.ci95[1]:+.4f}" if task.ci95 else ""
        console.print(f"{task.metric}: {task.fp32:.4f} -> {task.optimized:.4f}{between}", markup=False)
    for reason in found.steadiness.reasons:
        console.print(f"timings: {reason}", style="yellow", markup=False)
