"""``optimize bench BUNDLE``: LoadGen on an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Bundle = Annotated[Path, Argument(metavar="BUNDLE", help="Or a .onnx file, or a folder of graphs.", show_default=False)]
TASKS = "resnet50|bert|…|file.py"


def bench(
    bundle: Bundle,
    target: Annotated[str, Option(help="Which engine of the bundle.")] = "cpu",
    scenario: Annotated[str, Option(help="singlestream, multistream, server or offline.")] = "singlestream",
    duration: Annotated[float | None, Option(metavar="SECONDS", help="Default: 10; 600 with --mlperf.")] = None,
    qps: Annotated[str, Option(metavar="auto|N", help="Server: queries per second.")] = "auto",
    server_latency: Annotated[float | None, Option(metavar="MS", help="p99 bound. Default: the task's, 100.")] = None,
    search: Annotated[bool, Option("--search", help="Best Server rate, or best Offline batch and engines.")] = False,
    workload: Annotated[str, Option(metavar=TASKS, help="A benchmark task, or your own.")] = "",
    dataset: Annotated[str, Option(metavar="DIR", help="The task's data.")] = "",
    accuracy: Annotated[bool, Option("--accuracy", help="Run every sample once and score it.")] = False,
    cuda_runtime: Annotated[str, Option(metavar="cuda-python|pycuda", help="GPU engines only.")] = "",
    reference: Annotated[str, Option(metavar="MODEL.onnx", help="FP32 model to score beside it.")] = "",
    mlperf: Annotated[bool, Option("--mlperf", help="LoadGen's official settings.")] = False,
    triton: Annotated[str, Option(metavar="HOST:PORT/MODEL", help="A served model over gRPC.")] = "",
    workers: Annotated[
        int | None, Option(metavar="N", help="Engine instances. Default: 1, served 8; a search finds it.")
    ] = None,
    max_batch: Annotated[int | None, Option(metavar="N", help="Largest batch. Default: probed.")] = None,
    max_wait: Annotated[float, Option(metavar="MS", help="Server: wait for a fuller batch.")] = 0.0,
    samples: Annotated[int | None, Option(metavar="N", help="Only the dataset's first N.")] = None,
    out: Annotated[Path | None, Option("-o", "--out", metavar="DIR", help="Keep the raw mlperf_log_* files.")] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON document of the report's shape.")] = False,
) -> int:
    """Measure an engine with MLPerf LoadGen. Exit code 1: invalid run; 3: valid, accuracy target missed."""
    import os
    import sys

    from engines.cuda.open import VARIABLE, check_runtime_name
    from graphs.files import to_json
    from optimizer.verbs.bench.run import BenchSettings, bench_bundle, parse_rate
    from optimizer.verbs.bench.text import render

    if cuda_runtime:
        os.environ[VARIABLE] = check_runtime_name(cuda_runtime)  # LoadGen drives the engine in a child process
    settings = BenchSettings(
        target=target,
        scenario=scenario,
        duration=duration,
        qps=parse_rate(qps),
        server_latency_ms=server_latency,
        accuracy=accuracy,
        search=search,
        mlperf=mlperf,
        workload=workload,
        dataset=dataset,
        triton=triton,
        workers=workers,
        max_batch=max_batch,
        max_wait_ms=max_wait,
        samples=samples,
        reference=reference,
        out=out,
    )
    report = bench_bundle(bundle, settings)
    if json:
        sys.stdout.buffer.write(to_json(report))
    else:
        from rich.console import Console

        render(report, Console())
    valid = all(run.valid for runs in report.loadgen.values() for run in runs.values())
    return 0 if report.verdict.ok else 3 if valid else 1
