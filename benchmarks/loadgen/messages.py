"""What passes between the parent and the process of a LoadGen run, as JSON files."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.loadgen.settings import LoadgenRequest
from benchmarks.score import TaskScore


@dataclass(frozen=True)
class ChildReport:
    """What the process found: ``failures`` in sentences make the run invalid; ``bad_input`` ends it before it began."""

    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bad_input: str = ""
    batch: int = 1
    batch_histogram: dict[str, int] = field(default_factory=dict)
    completed: int = 0
    duration_s: float = 0.0
    engine_s: float = 0.0
    target_qps: float | None = None
    loadgen_version: str = ""
    failed: int = 0
    score: TaskScore | None = None


@dataclass(frozen=True)
class ChildRequest:
    """The request, and the Offline rate an earlier attempt measured."""

    request: LoadgenRequest
    offline_qps: float | None = None
