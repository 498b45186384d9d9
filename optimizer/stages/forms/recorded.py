"""What an engine answered, kept: FP32 need not run again for every form, nor be in memory beside a large one."""

from __future__ import annotations

import math

from engines.engine import Array, Engine, EngineBase, Feed

KEPT_BYTES = 256 << 20
"""Answers kept of a model that stays open: a classifier's to thousands of samples, a few of a segmentation's. Chosen,
not measured."""


class RecordedEngine(EngineBase):
    """``engine`` for one sequence of feeds, which starts again after each ``rewind``. Up to ``limit`` bytes of its
    first ``most`` answers are kept and given again; the feeds after that it runs anew.
    """

    def __init__(self, engine: Engine, limit: float = KEPT_BYTES, most: float = math.inf) -> None:
        self._engine, self._limit, self._most = engine, limit, most
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._answers: list[dict[str, Array]] = []
        self._bytes = self._position = 0

    def rewind(self) -> RecordedEngine:
        """This engine, before the first feed."""
        self._position = 0
        return self

    def infer(self, feed: Feed) -> dict[str, Array]:
        """The answer to the next feed of the sequence, which ``feed`` must be."""
        position, self._position = self._position, self._position + 1
        if position < len(self._answers):
            return self._answers[position]
        answer = self._engine.infer(feed)
        size = sum(array.nbytes for array in answer.values())
        if position == len(self._answers) < self._most and self._bytes + size <= self._limit:
            self._answers.append(answer)
            self._bytes += size
        return answer

    @property
    def kept(self) -> int:
        """The number of answers that need no engine."""
        return len(self._answers)

    def close(self) -> None:
        self._engine.close()
        self._answers = []

    def close_engine(self) -> None:
        """Keep the answers alone."""
        self._engine.close()
