"""Whether the accuracy budget holds, and what a search for the fastest mix of precisions within it measured.

Field for field as ``report.json`` stores them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["surely", "on_samples", "missed"]


@dataclass(frozen=True)
class BudgetSummary:
    """Whether the accuracy budget holds: ``surely`` (with confidence ``level``, one-sided), ``on_samples`` (it does on
    these, and they do not say it does on others) or ``missed``.

    ``drop`` is what is lost on the samples, ``upper`` what may be lost in truth with that confidence (both as fractions
    of FP32, like the budget), None where it cannot be told; ``how`` says where that bound comes from, or why there is
    none. Bounds allow for one of ``looks`` forms having been chosen by the same samples.
    """

    verdict: Verdict
    drop: float
    upper: float | None
    level: float
    samples: int
    looks: int
    how: str


@dataclass(frozen=True)
class SearchPoint:
    """One form that a search measured. ``drop`` and ``upper`` as in ``BudgetSummary``; ``ok``: within the budget on the
    samples; ``latency_ms`` by target (of a GPU predicted); ``bytes`` of its graph. ``plan`` is the file of the bundle
    that ``--plan`` builds it from, empty where another point beats it in all respects.
    """

    int8_mac_share: float
    drop: float
    upper: float | None
    ok: bool
    surely: bool
    latency_ms: dict[str, float]
    bytes: int
    chosen: bool = False
    plan: str = ""


@dataclass(frozen=True)
class PrecisionSearch:
    """The search for the fastest mix of precisions within a budget that was given. ``surely``: it had to hold with
    confidence; False where the samples are too few to tell. ``cost`` says what was spared, ``seconds`` what the search
    took beside the first form, of ``bound_s`` that it might. ``points`` by falling share of MACs in INT8.
    """

    points: list[SearchPoint]
    max_drop: float
    surely: bool
    optimize_for: str
    cost: str
    seconds: float
    bound_s: float

    @property
    def chosen(self) -> SearchPoint | None:
        """The point that ships where its target is built."""
        return next((point for point in self.points if point.chosen), None)
