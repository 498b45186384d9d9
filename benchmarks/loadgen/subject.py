"""What a LoadGen run is about: the engines, the sample library, and the task where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.samples.library import SampleLibrary
from benchmarks.samples.task_store import TaskStore
from benchmarks.task import Task, TaskSource
from engines.engine import Engine
from engines.parallel import available_cores
from engines.source import REMOTE, open_source


@dataclass(frozen=True)
class Subject:
    """``engines`` are instances of one engine, a worker thread each."""

    engines: Sequence[Engine]
    library: SampleLibrary
    task: Task | None = None


def open_subject(request: LoadgenRequest) -> Subject:
    """Open the engines and the samples. Raises ``BadInput`` or ``EngineError``."""
    source = request.task.find() if request.task is not None else None
    engines = [_open_engine(request, source) for _ in range(engine_count(request.settings))]
    inputs, outputs = engines[0].inputs, engines[0].outputs
    if source is None:
        return Subject(engines, SampleLibrary.from_files(request.samples, inputs))
    task = source.task(inputs, outputs)
    # The rules fix how many samples an official performance run draws from; otherwise memory does.
    held_together = source.performance_samples if request.settings.official else None
    return Subject(engines, SampleLibrary(TaskStore(task), inputs, held_together), task)


def engine_count(settings: LoadgenSettings) -> int:
    """SingleStream and MultiStream send a query when the last one is done, so they keep one engine busy."""
    return settings.workers if settings.scenario in (Scenario.OFFLINE, Scenario.SERVER) else 1


def _open_engine(request: LoadgenRequest, source: TaskSource | None) -> Engine:
    count = engine_count(request.settings)
    shared = count > 1 and not request.engine.startswith(REMOTE)
    threads = max(1, available_cores() // count) if shared else None
    return open_source(request.engine, threads) if source is None else source.engine(request.engine, threads)
