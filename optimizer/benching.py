"""``optimize bench``: LoadGen on an engine of a bundle, as a document of the report's shape."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.samples import save_samples
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from benchmarks.measurement import Verdict
from benchmarks.report.model import LoadgenSummary, Report, read_report
from calibration.sources.open import open_source
from engines.open import open_engine
from optimizer.bundle import Bundle
from optimizer.settings import choice

if TYPE_CHECKING:
    from rich.console import Console

SAMPLES = 64


@dataclass(frozen=True)
class BenchSettings:
    """One LoadGen run: ``duration`` in seconds, ``qps`` None lets a probe choose, ``server_latency_ms`` bounds p99."""

    target: str
    scenario: str
    duration: float
    qps: float | None
    server_latency_ms: float


def bench_bundle(path: Path, settings: BenchSettings) -> Report:
    """The bundle's report with the fresh LoadGen run in it; the bundle itself is not changed.

    Inputs are seeded random ones of the engine's shapes: latency and throughput do not depend on their values.
    """
    bundle = Bundle(path)
    scenario: Scenario = choice(Scenario, settings.scenario, "--scenario")
    directory = bundle.engine_directory(settings.target)
    with tempfile.TemporaryDirectory(prefix="optimize-bench-") as scratch:
        result = _measure(directory, scenario, settings, Path(scratch))
    runs = {settings.target: {scenario.value: LoadgenSummary.of(result, "")}}
    report = read_report(bundle.path / "report.json")
    return replace(report, loadgen=runs, verdict=Verdict(result.valid, tuple(result.reasons)))


def _measure(directory: Path, scenario: Scenario, settings: BenchSettings, scratch: Path) -> LoadgenResult:
    with open_engine(directory) as engine:
        specs = engine.inputs
    source = open_source("random", specs, samples=SAMPLES, seed=0)
    return run_loadgen(
        LoadgenRequest(
            engine=str(directory),
            samples=save_samples(islice(source.samples(), SAMPLES), specs, scratch / "samples"),
            settings=LoadgenSettings(
                scenario,
                duration_s=settings.duration,
                target_qps=settings.qps,
                latency_bound_ms=settings.server_latency_ms,
            ),
            log_dir=str(scratch / "logs"),
        )
    )


def render(report: Report, settings: BenchSettings, console: Console) -> None:
    """Print the run's figures and, where it is invalid, why."""
    run = next(iter(report.loadgen[settings.target].values()))
    verdict = "[green]VALID[/green]" if run.valid else "[red]INVALID[/red]"
    value = f"{run.value:,.2f}" if run.value is not None else "no value"
    console.print(f"{settings.target} {settings.scenario}: {verdict}  {run.metric} {value} {run.unit}")
    if run.p50 is not None:
        console.print(f"p50 {run.p50:.3f} ms  p90 {run.p90:.3f} ms  p99 {run.p99:.3f} ms  {run.samples} samples")
    for reason in run.reasons:
        console.print(f"- {reason}", markup=False)
