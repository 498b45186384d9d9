"""What a report says of a run on a benchmark task."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.mlperf.rules import Division
from benchmarks.workloads.targets import AccuracyVerdict


@dataclass(frozen=True)
class WorkloadSummary:
    """``accuracy`` is None for performance runs. Nothing here is an MLPerf result."""

    name: str
    dataset: str
    division: Division
    accuracy: AccuracyVerdict | None = None
    notice: str = "unverified: not an MLPerf result, MLCommons has not reviewed it"
