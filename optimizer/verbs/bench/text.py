"""A LoadGen run in the terminal: the verdict first, then why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.loadgen.curve import SearchSummary
from benchmarks.mlperf.summary import WorkloadSummary
from benchmarks.report.model import LoadgenSummary, Report

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_SETTINGS = 5
"""The best settings that are printed; --json has all. Chosen."""


def render(report: Report, console: Console) -> None:
    """Print the run's figures and, where it is invalid, why."""
    for target, runs in report.loadgen.items():
        for scenario, run in runs.items():
            _run(f"{target} {scenario}", run, console)


def _run(title: str, run: LoadgenSummary, console: Console) -> None:
    from rich.text import Text

    verdict = ("VALID", "green") if run.valid else ("INVALID", "red")
    value = f"{run.value:,.2f}" if run.value is not None else "no value"
    console.print(Text.assemble(f"{title}: ", verdict, f"  {run.metric} {value} {run.unit}"))
    if run.p50 is not None:
        tail = f"  p90 {run.p90:.3f} ms  p99 {run.p99:.3f} ms" if run.p90 and run.p99 else ""
        console.print(f"p50 {run.p50:.3f} ms{tail}  {run.samples:,} samples")
    batches = ", ".join(f"{size}: {count:,}" for size, count in run.batch_histogram.items())
    console.print(f"batches  {batches}", markup=False, soft_wrap=True)
    for line in [*(f"- {reason}" for reason in run.reasons), *run.notes]:
        console.print(line, markup=False, soft_wrap=True)
    if run.search is not None:
        _search(run.search, console)
    if run.workload is not None:
        _workload(run.workload, console)


def _search(search: SearchSummary, console: Console) -> None:
    if search.curve:
        share = 100 * (search.share_of_offline or 0.0)
        console.print(f"{share:.0f} % of Offline's {search.offline_qps or 0:,.1f} samples/s; latency against load:")
    for point in search.curve:
        p99 = f"{point.p99:.2f}" if point.p99 is not None else "-"
        console.print(f"  {point.qps:>12,.1f} qps  p99 {p99:>10} ms  {'valid' if point.valid else 'invalid'}")
    for server in search.servers:
        rate = f"{server.qps:,.1f} queries/s in short runs" if server.qps else "no better"
        console.print(f"  {_engines(server.workers)}: {rate}")
    for wait in search.waits:
        rate = f"{wait.qps:,.1f} queries/s in short runs" if wait.qps else "no better"
        console.print(f"  a free engine waits {wait.wait_ms:g} ms: {rate}")
    for setting in search.settings[:SHOWN_SETTINGS]:
        rate = f"{setting.samples_per_s:,.1f} samples/s" if setting.samples_per_s else "invalid"
        console.print(f"  {_engines(setting.workers)}, batch {setting.batch}: {rate}")


def _engines(count: int) -> str:
    return f"{count} engine{'s' if count > 1 else ''}"


def _workload(workload: WorkloadSummary, console: Console) -> None:
    if workload.accuracy is not None:
        for sentence in workload.accuracy.sentences:
            console.print(f"accuracy  {sentence}", markup=False, soft_wrap=True)
        for name, value in workload.accuracy.details.items():
            console.print(f"accuracy  {name} {value:.5g}", markup=False, soft_wrap=True)
    division = workload.division
    console.print(f"division  {division.name} ({workload.notice})", markup=False, soft_wrap=True)
    for line in [*division.reasons, *division.unofficial, *(f"unchecked: {check}" for check in division.unchecked)]:
        console.print(f"- {line}", markup=False, soft_wrap=True)
