"""What a search leaves: the points it measured, and how it went."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.precision import PrecisionPlan


@dataclass(frozen=True)
class FoundPoint:
    """One measured form. ``upper`` is the bound of its drop with confidence, None where there is none; ``plan`` builds
    it again (None for one that another beats in all respects).
    """

    int8_mac_share: float
    drop: float
    upper: float | None
    ok: bool
    surely: bool
    latency_ms: dict[str, float]
    bytes: int
    chosen: bool
    plan: PrecisionPlan | None


@dataclass(frozen=True)
class SearchRecord:
    """One search. ``surely``: the budget was to hold with confidence; else the samples are too few to tell. ``cost``
    says what the search spared; ``seconds`` it took beside the first form, of the ``bound_s`` it might.
    """

    points: list[FoundPoint]
    max_drop: float
    surely: bool
    optimize_for: str
    cost: str
    seconds: float
    bound_s: float
