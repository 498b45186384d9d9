"""NVIDIA's closed-division results of MLPerf Inference v0.5 to v1.1, as reference lines for the same task.

``nvidia_closed.csv`` was read from the raw ``mlperf_log_summary.txt`` of MLCommons' result repositories; every row
names its repository, commit and path. For each accelerator it holds the newest round with one, else with eight, of it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from graphs.errors import BadInput

FILE = Path(__file__).with_name("nvidia_closed.csv")


@dataclass(frozen=True)
class Published:
    """One published result of a whole system with ``accelerators`` of one kind.

    ``value`` is samples/s (offline), scheduled queries/s (server), or p90 milliseconds (singlestream). ``source`` is
    repository@commit/path.
    """

    task: str
    scenario: str
    accelerator: str
    accelerators: int
    round: str
    system: str
    value: float
    unit: str
    source: str

    @property
    def per_accelerator(self) -> float:
        """A rate divided by the number of accelerators; a latency as it is."""
        return self.value if self.unit == "ms" else self.value / self.accelerators


def published_tasks() -> list[str]:
    """The MLPerf tasks there are results of."""
    return sorted({row["task"] for row in _rows()})


def published_results(task: str) -> list[Published]:
    """Every result of ``task``, scenarios together, the fastest accelerator first. Raises ``BadInput`` for a task there
    is none of."""
    if task not in published_tasks():
        raise BadInput(
            f"no published results of task {task!r}", where="--task", expected=f"one of {', '.join(published_tasks())}"
        )
    found = [_published(row) for row in _rows() if row["task"] == task]
    return sorted(found, key=lambda p: (p.scenario, p.value if p.unit == "ms" else -p.per_accelerator))


def _published(row: dict[str, str]) -> Published:
    return Published(
        task=row["task"],
        scenario=row["scenario"],
        accelerator=row["accelerator"],
        accelerators=int(row["accelerators"]),
        round=row["round"],
        system=row["system"],
        value=float(row["value"]),
        unit=row["unit"],
        source=f"{row['repository']}/{row['path']}",
    )


def _rows() -> list[dict[str, str]]:
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))
