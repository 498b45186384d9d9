"""What a study of one model in several precisions holds, and how it is stored (``plaster.json``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.measurement import Latency
from benchmarks.plaster.figures import Learning, NativeOps
from benchmarks.published.results import Published
from benchmarks.report.model import LoadgenSummary, OutputFidelity, Plaster
from benchmarks.timing.steady import Steadiness

SCHEMA = 1
"""Version of the layout of plaster.json."""
STUDY_FILE = "plaster.json"


@dataclass(frozen=True)
class Prepared:
    """One variant ready to be measured: its engine folder, and what making it showed.

    ``ran`` says in words what executes; ``dtype`` colours it ("fp32", "fp16", "int8").
    """

    name: str
    title: str
    dtype: str
    ran: str
    folder: str
    engine_bytes: int
    native: NativeOps
    flags: list[str]
    learning: Learning
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Variant:
    """One variant measured. ``latency`` is of one request at a time, ``throughput`` samples/s at ``batch``."""

    name: str
    title: str
    dtype: str
    ran: str
    plaster: Plaster
    latency: Latency
    throughput: float
    batch: int
    outputs: dict[str, OutputFidelity]
    task: TaskAccuracy | None = None
    loadgen: dict[str, LoadgenSummary] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Study:
    """Every variant of ``model`` on ``target``, measured in one interleaved run.

    ``steadiness`` by what was timed ("latency", "throughput"); the first variant is the baseline. ``published`` holds
    reference results where the user named the MLPerf task.
    """

    model: str
    digest: str
    model_bytes: int
    target: str
    variants: list[Variant]
    steadiness: dict[str, Steadiness]
    samples: int
    data: str
    calibrated: bool
    bound_ms: float | None = None
    task: str = ""
    published: list[Published] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    command: str = ""
    schema: int = SCHEMA

    @property
    def trusted(self) -> bool:
        return all(found.trusted for found in self.steadiness.values())
