"""A workload opened on a dataset, also by name from another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.samples.first_samples import FirstSamples
from benchmarks.task import Task, TaskPlace
from benchmarks.workloads.registry import find_workload
from benchmarks.workloads.workload import Workload
from engines.engine import Engine, TensorSpec
from engines.source import open_source


@dataclass(frozen=True)
class OpenedWorkload:
    """A ``TaskSource``: ``first_samples`` takes only so many of the dataset (None: all)."""

    workload: Workload
    dataset: Path
    first_samples: int | None = None

    @property
    def performance_samples(self) -> int:
        return self.workload.performance_samples

    def engine(self, source: str, threads: int | None = None) -> Engine:
        own = self.workload.open_engine
        return own(source) if own is not None else open_source(source, threads)

    def task(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Task:
        """Raises ``BadInput`` for data or a model that does not fit."""
        task = self.workload.open(self.dataset, inputs, outputs)
        return task if self.first_samples is None else FirstSamples(task, self.first_samples)


def workload_place(name: str, dataset: str | Path, first_samples: int | None = None) -> TaskPlace:
    """Names the workload ``name`` (or ``file.py``) on the folder ``dataset`` for a process of its own."""
    return TaskPlace(f"{__name__}:{open_workload.__name__}", name, str(Path(dataset).absolute()), first_samples)


def open_workload(place: TaskPlace) -> OpenedWorkload:
    """The workload that ``place`` names. Raises ``BadInput`` where there is none."""
    return OpenedWorkload(find_workload(place.name), Path(place.dataset), place.first_samples)
