"""What a LoadGen run is about: the engines, the sample library, and the workload's task where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.samples.library import SampleLibrary
from benchmarks.workloads.first_samples import FirstSamples
from benchmarks.workloads.registry import find_workload
from benchmarks.workloads.store import TaskStore
from benchmarks.workloads.workload import Task, Workload
from engines.engine import Engine
from engines.onnxruntime.engine import available_cores
from engines.source import REMOTE, open_source


@dataclass(frozen=True)
class Subject:
    """``engines`` are instances of one engine, a worker thread each."""

    engines: Sequence[Engine]
    library: SampleLibrary
    task: Task | None = None


def open_subject(request: LoadgenRequest) -> Subject:
    """Open the engines and the samples. Raises ``BadInput`` or ``EngineError``."""
    workload = find_workload(request.workload) if request.workload else None
    engines = [_open_engine(request, workload) for _ in range(engine_count(request.settings))]
    inputs, outputs = engines[0].inputs, engines[0].outputs
    if workload is None:
        return Subject(engines, SampleLibrary.from_files(request.samples, inputs))
    task: Task = workload.open(Path(request.dataset), inputs, outputs)
    if request.first_samples is not None:
        task = FirstSamples(task, request.first_samples)
    return Subject(engines, SampleLibrary(TaskStore(task), inputs, _held_together(request, workload)), task)


def engine_count(settings: LoadgenSettings) -> int:
    """SingleStream and MultiStream send a query when the last one is done, so they keep one engine busy."""
    return settings.workers if settings.scenario in (Scenario.OFFLINE, Scenario.SERVER) else 1


def _open_engine(request: LoadgenRequest, workload: Workload | None) -> Engine:
    if workload is not None and workload.open_engine is not None:
        return workload.open_engine(request.engine)
    count = engine_count(request.settings)
    shared = count > 1 and not request.engine.startswith(REMOTE)
    return open_source(request.engine, threads=max(1, available_cores() // count) if shared else None)


def _held_together(request: LoadgenRequest, workload: Workload) -> int | None:
    """The rules fix how many samples a performance run draws from; otherwise memory does."""
    return workload.performance_samples if request.settings.official else None
