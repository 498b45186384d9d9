"""``optimize bench``: LoadGen on an engine, as a document of the report's shape."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.loadgen.curve import SearchSummary
from benchmarks.loadgen.offline_search import instance_counts, search_offline
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.search import search_server
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Mode, Scenario
from benchmarks.measurement import Verdict
from benchmarks.mlperf.run import summarise_workload, workload_settings
from benchmarks.mlperf.summary import WorkloadSummary
from benchmarks.report.model import LoadgenSummary, Report, Status
from benchmarks.samples.library import save_samples
from benchmarks.workloads.opening import workload_place
from benchmarks.workloads.registry import find_workload
from engines.source import REMOTE, open_source
from graphs.errors import BadInput
from optimizer.settings.given import choice
from optimizer.settings.numbers_given import check_above_zero, check_not_negative
from optimizer.verbs.bench.served import check_served
from optimizer.verbs.bench.subject import BenchSubject, find_subject
from optimizer.verbs.usual_inputs import usual_inputs

SAMPLES = 64
"""Made-up samples that LoadGen draws from; speed does not depend on their values. Chosen."""
REMOTE_WORKERS = 8
"""Requests in flight, so that the server has something to batch. Chosen."""
SHORT_SECONDS = 10.0
"""Length of a run where none is asked for: at 20 ms per query still the 459 that Server's p99 needs. Chosen."""


@dataclass(frozen=True)
class BenchSettings:
    """One LoadGen run, or a search with ``search``.

    ``target`` None is ``Bundle.usual_target``; ``duration`` in seconds, None for 10 (600 with ``mlperf``); ``qps`` None
    lets a probe choose; ``server_latency_ms`` bounds p99, None for the workload's bound or 100; ``accuracy`` runs every
    sample of the workload and scores it; ``workload`` and ``dataset`` name a benchmark task and its data; ``triton`` is
    ``HOST:PORT/MODEL``; ``instances`` of the engine (None: one, eight for a remote one); ``samples`` only the first of
    the dataset; ``reference`` an FP32 model to score on the same samples; ``out`` keeps the raw logs.
    """

    target: str | None = None
    scenario: str = "singlestream"
    duration: float | None = None
    qps: float | None = None
    server_latency_ms: float | None = None
    accuracy: bool = False
    search: bool = False
    mlperf: bool = False
    workload: str = ""
    dataset: str = ""
    triton: str = ""
    instances: int | None = None
    max_batch: int | None = None
    max_wait_ms: float = 0.0
    samples: int | None = None
    reference: str = ""
    out: Path | None = None

    def __post_init__(self) -> None:
        if bool(self.workload) != bool(self.dataset):
            raise BadInput("--workload and --dataset go together", where="bench", fix="give both, or neither")
        if not self.workload and (self.accuracy or self.mlperf):
            option = "--accuracy" if self.accuracy else "--mlperf"
            raise BadInput("needs to know the task", where=option, fix="add --workload NAME --dataset DIR")
        if self.search and (self.accuracy or self.scenario not in ("server", "offline")):
            raise BadInput("searches rates and batches", where="--search", expected="--scenario server or offline")
        check_above_zero(
            {
                "--duration": self.duration,
                "--qps": self.qps,
                "--server-latency": self.server_latency_ms,
                "--instances": self.instances,
                "--max-batch": self.max_batch,
                "--samples": self.samples,
            }
        )
        check_not_negative({"--max-wait": self.max_wait_ms})


def bench_bundle(path: Path, settings: BenchSettings) -> Report:
    """The bundle's report with the fresh LoadGen run in it; the bundle itself is not changed. ``path`` may also be an
    ``.onnx`` file, or a folder of the graphs a workload wants.

    Without a workload, inputs are seeded random ones of the engine's shapes: latency and throughput do not depend on
    their values. Raises ``BadInput`` where a served model is another than that of ``path``.
    """
    scenario: Scenario = choice(Scenario, settings.scenario, "--scenario")
    remote = _remote(settings.triton)
    subject = find_subject(path, settings.target, remote)
    unseen = check_served(path, remote) if remote else []
    with tempfile.TemporaryDirectory(prefix="optimize-bench-") as scratch:
        logs = settings.out or Path(scratch) / "logs"
        request = _request(subject, settings, _loadgen_settings(settings, scenario), Path(scratch), logs)
        result, search = _run(request, settings)
        workload = summarise_workload(request, result, subject.facts, settings.reference) if settings.workload else None
    summary = replace(
        LoadgenSummary.of(result, str(settings.out) if settings.out else ""), workload=workload, search=search
    )
    summary = replace(summary, notes=[*summary.notes, *unseen])
    runs = {subject.name: {scenario.value: summary}}
    return replace(subject.report, loadgen=runs, verdict=_verdict(result, workload), status=_status(result, workload))


def _remote(served: str) -> str:
    """What ``--triton`` names, as engines are opened; empty for nothing. Raises ``BadInput``."""
    address = served.removeprefix(REMOTE)
    if "://" in address:
        expected = "HOST:PORT/MODEL, the port for gRPC (Triton's is 8001)"
        raise BadInput("is asked over gRPC alone", where=f"--triton {served}", expected=expected)
    return f"{REMOTE}{address}" if address else ""


def parse_rate(text: str) -> float | None:
    """``"auto"`` -> None, ``"120"`` -> 120.0. Raises ``BadInput``."""
    try:
        return None if text == "auto" else float(text)
    except ValueError:
        raise BadInput(f"{text!r} is not a rate", where="--qps", expected="auto, or queries per second") from None


def _status(result: LoadgenResult, workload: WorkloadSummary | None) -> Status:
    if not result.valid:
        return "invalid"
    missed = workload is not None and workload.accuracy is not None and not workload.accuracy.ok
    return "over_budget" if missed else "ok"


def _verdict(result: LoadgenResult, workload: WorkloadSummary | None) -> Verdict:
    accuracy = workload.accuracy if workload is not None else None
    missed = [target.sentence for target in accuracy.targets if not target.met] if accuracy and not accuracy.ok else []
    return Verdict(result.valid and not missed, (*result.reasons, *missed))


def _loadgen_settings(settings: BenchSettings, scenario: Scenario) -> LoadgenSettings:
    workers = settings.instances or (REMOTE_WORKERS if settings.triton else 1)
    given = LoadgenSettings(
        scenario,
        Mode.ACCURACY if settings.accuracy else Mode.PERFORMANCE,
        duration_s=settings.duration or (600.0 if settings.mlperf else SHORT_SECONDS),
        target_qps=settings.qps,
        max_batch=settings.max_batch,
        max_wait_ms=settings.max_wait_ms,
        workers=workers,
        shortened=settings.mlperf and settings.duration is not None,
    )
    if settings.workload:
        given = workload_settings(find_workload(settings.workload), given, mlperf=settings.mlperf)
    bound = settings.server_latency_ms
    return replace(given, latency_bound_ms=bound) if bound is not None else given


def _request(
    subject: BenchSubject, settings: BenchSettings, loadgen: LoadgenSettings, scratch: Path, logs: Path
) -> LoadgenRequest:
    request = LoadgenRequest(subject.engine, (), loadgen, str(logs))
    if settings.workload:
        return replace(request, task=workload_place(settings.workload, settings.dataset, settings.samples))
    with open_source(subject.engine) as engine:
        specs = engine.inputs
    source = usual_inputs(Path(subject.engine), specs, subject.graph, SAMPLES)
    return replace(request, samples=save_samples(source.samples(), specs, scratch / "samples"))


def _run(request: LoadgenRequest, settings: BenchSettings) -> tuple[LoadgenResult, SearchSummary | None]:
    if not settings.search:
        return run_loadgen(request), None
    free = settings.instances is None and not settings.triton
    counts = instance_counts() if free else [request.settings.workers]
    if request.settings.scenario is Scenario.SERVER:
        server = search_server(request, workers=counts)
        return server.confirmed, server.summary()
    offline = search_offline(request, workers=counts)
    return offline.confirmed, offline.summary()
