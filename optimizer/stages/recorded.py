"""What an engine answered, played back: so that two forms of a large model need not be in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engines.engine import Array, Engine, EngineBase, Feed


class RecordedEngine(EngineBase):
    """An engine that gives the outputs of ``engine`` for ``feeds``, in the same order, over and over."""

    def __init__(self, engine: Engine, feeds: Iterable[Feed]) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._answers = [engine.infer(feed) for feed in feeds]
        self._next: Iterator[dict[str, Array]] = iter(())

    def infer(self, feed: Feed) -> dict[str, Array]:
        """The next recorded answer; ``feed`` must be the one it was recorded for."""
        answer = next(self._next, None)
        if answer is None:
            self._next = iter(self._answers)
            answer = next(self._next)
        return answer

    def close(self) -> None:
        self._answers = []
