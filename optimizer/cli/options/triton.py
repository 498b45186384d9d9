"""Options of ``optimize deploy`` about Triton, alone or in what runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from optimizer.cli.options.words import FUNCTION, PATH_OR_FUNCTION
from optimizer.verbs.deploy.table import panel

PANEL = panel("backend")
ALONE = panel("check")
Backend = Annotated[
    str,
    Option(
        metavar="auto|python",
        help="auto: Triton's own backend for the engine; python: its Python backend, which runs the engine itself.",
        rich_help_panel=PANEL,
    ),
]
Container = Annotated[
    str,
    Option(
        metavar="YY.MM[=TENSORRT]",
        help="Release of the Triton container that will serve: plans of another TensorRT are refused. =TENSORRT says "
        "which it has, in place of our table.",
        rich_help_panel=PANEL,
    ),
]
MaxBatch = Annotated[
    int | None,
    Option(metavar="N", help="Largest batch; 0: none. Default: the engine's profile.", rich_help_panel=PANEL),
]
Instances = Annotated[
    int | None,
    Option(
        metavar="N",
        help="Copies of the engine that run at once. Default: what --bench found, else 1.",
        rich_help_panel=PANEL,
    ),
]
QueueDelay = Annotated[
    int | None,
    Option(
        metavar="US",
        help="Microseconds that a request may wait for a fuller batch. Default: what --bench found, else 0.",
        rich_help_panel=PANEL,
    ),
]
Bench = Annotated[
    list[Path] | None,
    Option(
        metavar="FILE.json",
        help="What optimize bench BUNDLE --search --json printed: its instances, batch and queue delay are taken. "
        "Repeatable.",
        rich_help_panel=PANEL,
    ),
]
CudaGraphs = Annotated[
    bool, Option("--cuda-graphs", help="Plans: have Triton capture CUDA graphs.", rich_help_panel=PANEL)
]
KeepVersions = Annotated[int, Option(metavar="N", help="Serve the newest N versions.", rich_help_panel=PANEL)]
ModelVersion = Annotated[
    int,
    Option(metavar="N", help="Write it as this version; one beside others keeps their config.", rich_help_panel=PANEL),
]
ResponseCache = Annotated[
    bool, Option("--response-cache", help="Answer a request seen before from a cache.", rich_help_panel=PANEL)
]
RateLimits = Annotated[
    str,
    Option(
        metavar="NAME=N[,…][:PRIORITY]",
        help="Resources that an instance takes while it runs (rate limiter).",
        rich_help_panel=PANEL,
    ),
]
Preprocess = Annotated[
    str,
    Option(
        metavar=f"{FUNCTION}|FILE.toml",
        help="Run before the model, as an ensemble: from arrays by name to the model's inputs; with a preprocess.toml "
        "(as beside images that are data) from image files.",
        rich_help_panel=PANEL,
    ),
]
Postprocess = Annotated[
    str,
    Option(metavar=FUNCTION, help="Run after it: from its outputs to what clients get.", rich_help_panel=PANEL),
]
Raw = Annotated[
    list[Path] | None,
    Option(
        metavar="FILE.npz",
        help="A few samples of what clients send: tells names, types and shapes. Repeatable: sizes in which they "
        "differ are free.",
        rich_help_panel=PANEL,
    ),
]
Check = Annotated[
    bool,
    Option(
        "--check",
        help="Serve it on a tritonserver and compare its answers and speed with the engine's.",
        rich_help_panel=ALONE,
    ),
]
Server = Annotated[
    str,
    Option(
        metavar="PATH|HOST:PORT",
        help="--check: the tritonserver to run, or the gRPC port of one that serves the repository.",
        rich_help_panel=ALONE,
    ),
]
Data = Annotated[
    str,
    Option(
        metavar=PATH_OR_FUNCTION,
        help="--check: samples to send. Default: seeded random ones.",
        rich_help_panel=ALONE,
    ),
]
Evaluate = Annotated[
    str,
    Option(metavar=FUNCTION, help="--check: a task metric to score the server by.", rich_help_panel=ALONE),
]
OptimizeFor = Annotated[
    str,
    Option(
        metavar="throughput|latency",
        help="Search instances, batches, queue delay and threads on a running server.",
        rich_help_panel=ALONE,
    ),
]
LatencyBound = Annotated[
    str, Option(metavar="20ms", help="--optimize-for: p99 that must be kept.", rich_help_panel=ALONE)
]
Clients = Annotated[
    int, Option(metavar="N", help="--optimize-for: clients, one request in flight each.", rich_help_panel=ALONE)
]
TuneSeconds = Annotated[
    float, Option(metavar="SECONDS", help="--optimize-for: time for the search.", rich_help_panel=ALONE)
]
