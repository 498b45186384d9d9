"""How far a repair may move the answers of a quantized source: no further than a few of its own steps.

A repair that leaves every code alone moves them by float rounding. One that takes a rounding away, or makes one
coarser, moves them by what rounding costs: as a measure serves the source itself beside its float form, which rounds
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from engines.engine import Feed
from optimizer.equivalence import Answers
from optimizer.prequantized.floats import WithoutQuantization

COARSER = 8.0
"""dB that a range around zero in place of one on one side may cost: steps twice as wide have four times the noise,
which with the source's own makes five times, 7 dB; and 1 dB more, for a few samples are looked at."""
LEAST_DB = 60.0
"""Closer than this a repair is rounding, however little the source itself rounds. Chosen."""


@dataclass(frozen=True)
class RepairCheck:
    """``answers`` are the source's; ``own_db`` is the SQNR of its float form beside them."""

    answers: Answers
    own_db: float

    @classmethod
    def of(cls, model: ir.Model, feeds: Sequence[Feed]) -> RepairCheck:
        """Run ``model``, spelt alike, and its float form on ``feeds``. Raises ``EngineError`` where it does not run."""
        answers = Answers.of(model, feeds, fuse_qdq=False)
        plain = model.clone()
        WithoutQuantization().apply(plain)
        return cls(answers, answers.compare(plain, fuse_qdq=False).sqnr_db)

    @property
    def least_db(self) -> float:
        """The SQNR that a repaired graph must keep beside the source."""
        return min(max(self.own_db - COARSER, 0.0), LEAST_DB)

    def refuses(self, model: ir.Model) -> str:
        """Why ``model`` is not the source any more; empty where it is."""
        found = self.answers.compare(model, fuse_qdq=False)
        if found.same or found.sqnr_db >= self.least_db:
            return ""
        return f"{found.why}, where the source's own rounding leaves {self.own_db:.1f} dB"
