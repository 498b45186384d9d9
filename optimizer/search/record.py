"""What a search leaves: the points it measured and how it went, as the report tells it, and how to build them again."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.report.budget import PrecisionSearch
from optimizer.precision import PrecisionPlan


@dataclass(frozen=True)
class SearchRecord:
    """``told`` names no plan files yet; ``plans`` has by point what builds it again, None for one that another beats in
    all respects.
    """

    told: PrecisionSearch
    plans: list[PrecisionPlan | None]
