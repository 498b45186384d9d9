"""What a benchmark task is: its data, its pre- and post-processing, its metric, and the figures it is judged by.

A user's own workload is one file with a class that has the four methods of ``benchmarks.task.Task`` and a
``WORKLOAD = Workload(…)`` naming it; see ``docs/loadgen.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from benchmarks.task import Task
from engines.engine import Array, Engine, TensorSpec

OpenTask: TypeAlias = Callable[[Path, Sequence[TensorSpec], Sequence[TensorSpec]], Task]
"""(dataset folder, the model's inputs, its outputs) -> the task. Raises ``BadInput`` for data or a model that does not
fit, and names the optional library that is missing.
"""


@dataclass(frozen=True)
class Workload:
    """A task's definition. Shares and accuracies are fractions (0.7646 is 76.46 %). ``reference`` is the FP32 model's
    metric that MLPerf publishes, None where there is none; ``targets`` are the shares of it that a result must reach;
    ``dataset_samples`` how many samples the official dataset has; ``performance_samples`` LoadGen's performance sample
    count; ``server_latency_ms`` the Server bound on p99, None where MLPerf has no Server scenario for the task;
    ``mlperf_name`` the model's name in LoadGen's compiled-in mlperf.conf; ``rounds`` where it was part of MLPerf
    Inference; ``open_engine`` opens tasks of several graphs or with a loop around one.
    """

    name: str
    open: OpenTask
    metric: str
    data: str
    higher_is_better: bool = True
    reference: float | None = None
    targets: tuple[float, ...] = (0.99,)
    dataset_samples: int | None = None
    performance_samples: int = 1024
    server_latency_ms: float | None = 100.0
    mlperf_name: str = ""
    rounds: str = ""
    open_engine: Callable[[str], Engine] | None = None
    notes: tuple[str, ...] = field(default=())


def split_rows(outputs: Mapping[str, Array], rows: Sequence[int]) -> Iterator[dict[str, Array]]:
    """Each sample's part of a batch's outputs. A lone sample owns all of them, whatever their first axis is."""
    if len(rows) == 1:
        yield dict(outputs)
        return
    start = 0
    for count in rows:
        yield {name: array[start : start + count] for name, array in outputs.items()}
        start += count
