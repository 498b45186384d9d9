"""``optimize bench BUNDLE``: LoadGen on an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli.options.words import ENGINE

WHAT = "A bundle, an .onnx file, or the folder of graphs that a workload wants."
Bundle = Annotated[Path, Argument(metavar="BUNDLE", help=WHAT, show_default=False)]
TASKS = "resnet50|bert|…|FILE.py"


def bench(
    bundle: Bundle,
    target: Annotated[
        str | None,
        Option(metavar="TARGET", help=ENGINE),
    ] = None,
    scenario: Annotated[
        str, Option(metavar="SCENARIO", help="How LoadGen sends samples: singlestream, multistream, server or offline.")
    ] = "singlestream",
    duration: Annotated[
        float | None, Option(metavar="SECONDS", help="Length of the measurement. Default: 10; 600 with --mlperf.")
    ] = None,
    qps: Annotated[
        str,
        Option(metavar="auto|N", help="Server: queries per second to send. auto: 60 % of what the engine can take."),
    ] = "auto",
    server_latency: Annotated[
        float | None,
        Option(metavar="MS", help="Server: latency bound for the 99th percentile. Default: the task's, else 100."),
    ] = None,
    search: Annotated[
        bool, Option("--search", help="Search for the best Server rate, or the best Offline batch and engines.")
    ] = False,
    workload: Annotated[
        str, Option(metavar=TASKS, help="Take samples and metric from this task, or from a file of yours.")
    ] = "",
    dataset: Annotated[str, Option(metavar="DIR", help="Folder with the data of --workload.")] = "",
    accuracy: Annotated[
        bool, Option("--accuracy", help="Run every sample of --dataset once and score the answers.")
    ] = False,
    cuda_runtime: Annotated[
        str, Option(metavar="cuda-python|pycuda", help="Library that drives the GPU. Default: cuda-python.")
    ] = "",
    reference: Annotated[
        str,
        Option(metavar="MODEL.onnx", help="FP32 model whose score on the same samples is what accuracy is judged by."),
    ] = "",
    mlperf: Annotated[bool, Option("--mlperf", help="LoadGen's official settings of the task.")] = False,
    triton: Annotated[
        str, Option(metavar="HOST:PORT/MODEL", help="Measure a model that this server serves, over gRPC.")
    ] = "",
    instances: Annotated[
        int | None, Option(metavar="N", help="Copies of the engine that run at once. Default: 1, for a served model 8.")
    ] = None,
    max_batch: Annotated[
        int | None, Option(metavar="N", help="Largest batch to form. Default: the fastest, tried out.")
    ] = None,
    max_wait: Annotated[float, Option(metavar="MS", help="Server: how long to wait for a fuller batch.")] = 0.0,
    samples: Annotated[int | None, Option(metavar="N", help="Run only the first N samples of --dataset.")] = None,
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="DIR", help="Folder to keep the raw mlperf_log_* files in.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON document shaped like report.json.")] = False,
) -> int:
    """Measure an engine with MLPerf LoadGen.

    Exit code 1: the run is invalid; 3: it is valid and misses the accuracy target.
    """
    import os
    import sys

    from engines.cuda.open import VARIABLE, check_runtime_name
    from graphs.files import to_json
    from optimizer.result import EXIT_CODES
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
        instances=instances,
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
        from optimizer.cli.output.printing import console

        render(report, console())
    return EXIT_CODES[report.status]
