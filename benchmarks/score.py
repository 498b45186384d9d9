"""What an evaluation function takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from engines.engine import Array, Feed

Infer: TypeAlias = Callable[[Feed], dict[str, Array]]
Evaluate: TypeAlias = Callable[[Infer], object]


@dataclass(frozen=True)
class Score:
    """What one call of an evaluation function returned."""

    metric: str
    value: float
    per_sample: Array | None = None
    higher_is_better: bool = True
    samples: int = 0
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskScore:
    """A score without its per-sample figures, as it passes between processes; ``details`` are figures beside it (exact
    match, Dice per organ).
    """

    metric: str
    value: float
    samples: int
    higher_is_better: bool = True
    details: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(score: Score) -> TaskScore:
        return TaskScore(score.metric, score.value, score.samples, score.higher_is_better, score.details)
