"""``optimize bench BUNDLE``: LoadGen on an engine of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", show_default=False)],
    target: Annotated[str, typer.Option(help="Which engine of the bundle.")] = "cpu",
    scenario: Annotated[str, typer.Option(help="singlestream, multistream, server or offline.")] = "singlestream",
    duration: Annotated[float, typer.Option(help="Seconds.")] = 10.0,
    qps: Annotated[str, typer.Option(metavar="auto|N", help="Server: queries per second.")] = "auto",
    server_latency: Annotated[float, typer.Option(metavar="MS", help="Server: p99 bound.")] = 100.0,
    cuda_runtime: Annotated[str, typer.Option(metavar="cuda-python|pycuda", help="GPU engines only.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document of the report's shape.")] = False,
) -> int:
    """Measure an engine with MLPerf LoadGen."""
    import os
    import sys

    from engines.cuda.open import VARIABLE, check_runtime_name
    from engines.files import to_json
    from optimizer.benching import BenchSettings, bench_bundle, render

    if cuda_runtime:
        os.environ[VARIABLE] = check_runtime_name(cuda_runtime)  # LoadGen drives the engine in a child process
    settings = BenchSettings(target, scenario, duration, None if qps == "auto" else float(qps), server_latency)
    report = bench_bundle(bundle, settings)
    if json:
        sys.stdout.buffer.write(to_json(report))
    else:
        from rich.console import Console

        render(report, settings, Console())
    return 0 if report.verdict.ok else 1
