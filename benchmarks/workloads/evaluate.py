"""A workload's metric taken directly, without LoadGen: what ``--evaluate workload:NAME:DATASET`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.samples.execute import Activity, Executor, Failures
from benchmarks.samples.library import SampleLibrary
from benchmarks.samples.task_store import TaskStore
from benchmarks.score import Infer, Score
from benchmarks.task import Task
from benchmarks.workloads.registry import find_workload
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Engine
from engines.errors import EngineError
from graphs.errors import BadInput

CHUNK = 256
"""Samples in memory together. Chosen."""
LARGEST_BATCH, BATCH_BYTES = 64, 32 << 20
"""Samples joined into a batch at most, and the bytes of their inputs at most; chosen to bound memory."""


@dataclass(frozen=True)
class WorkloadEvaluation:
    """Scores an engine on a workload's dataset."""

    workload: Workload
    dataset: Path

    @staticmethod
    def of(text: str) -> WorkloadEvaluation:
        """From ``NAME:DATASET`` (NAME may be ``file.py``). Raises ``BadInput``."""
        name, separator, dataset = text.partition(":")
        if not separator or not dataset:
            raise BadInput(f"{text!r} names no dataset", where="--evaluate", expected="workload:NAME:DATASET")
        return WorkloadEvaluation(find_workload(name), Path(dataset))

    def __call__(self, infer: Infer) -> object:
        raise EngineError("a workload scores engines, not functions", where=self.workload.name)

    def score(self, engine: Engine) -> Score:
        """The metric of ``engine``. Raises ``EngineError`` naming the first sample it fails on."""
        return evaluate(engine, self.workload.open(self.dataset, engine.inputs, engine.outputs))


def evaluate(engine: Engine, task: Task, batch: int | None = None) -> Score:
    """Run every sample, ``batch`` at a time where they can be joined (default: 64, at most 32 MiB), and score them."""
    store = TaskStore(task)
    batch = batch or max(1, min(LARGEST_BATCH, BATCH_BYTES // store.sample_bytes))
    library = SampleLibrary(store, engine.inputs)
    executor = Executor(engine, library, Failures(), Activity())
    answers: dict[int, Array] = {}
    for start in range(0, len(task), CHUNK):
        indices = range(start, min(start + CHUNK, len(task)))
        library.load(indices)
        if start == 0:
            executor.learn_splitting()
        for _, part in library.batches(indices, indices, batch if executor.splits else 1):
            answers.update(zip(part, _answers(executor, task, part), strict=True))
    return task.score(answers)


def _answers(executor: Executor, task: Task, indices: Sequence[int]) -> Sequence[Array] | Array:
    outputs = executor.run(indices)
    if outputs is None:
        raise EngineError("; ".join(executor.failures.sentences()), where="evaluation")
    return task.answers(outputs, executor.library.rows(indices))
