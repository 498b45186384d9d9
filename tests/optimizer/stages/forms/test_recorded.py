"""FP32's answers are kept for the next form."""

from __future__ import annotations

import numpy as np
import pytest

from engines.engine import Array, EngineBase, Feed
from optimizer.stages.forms.recorded import RecordedEngine


class Counting(EngineBase):
    """Answers with its input, and counts how often it ran."""

    def __init__(self) -> None:
        self._inputs = self._outputs = ()
        self.ran = 0

    def infer(self, feed: Feed) -> dict[str, Array]:
        self.ran += 1
        return dict(feed)

    def close(self) -> None:
        self.ran = -1


FEEDS = [{"x": np.full(4, number, np.float32)} for number in range(3)]


@pytest.mark.parametrize(("limit", "runs"), [(1000, 3), (40, 4), (0, 6)])
def test_feeds_run_twice_only_where_answers_are_too_many(limit: int, runs: int) -> None:
    engine = Counting()
    recorded = RecordedEngine(engine, limit)
    for _ in range(2):
        recorded.rewind()
        answers = [recorded.infer(feed)["x"] for feed in FEEDS]
        assert all(np.array_equal(answer, feed["x"]) for answer, feed in zip(answers, FEEDS, strict=True))
    assert engine.ran == runs


def test_a_look_at_the_first_feed_does_not_shift_the_others() -> None:
    recorded = RecordedEngine(Counting())
    recorded.infer(FEEDS[0])
    recorded.rewind()
    assert [float(recorded.infer(feed)["x"][0]) for feed in FEEDS] == [0.0, 1.0, 2.0]


def test_no_more_answers_are_kept_than_asked_for() -> None:
    recorded = RecordedEngine(Counting(), most=1)
    assert [float(recorded.infer(feed)["x"][0]) for feed in FEEDS] == [0.0, 1.0, 2.0] and recorded.kept == 1


def test_answers_outlive_the_engine() -> None:
    engine = Counting()
    recorded = RecordedEngine(engine)
    recorded.infer(FEEDS[0])
    recorded.close_engine()
    assert engine.ran == -1 and float(recorded.rewind().infer(FEEDS[0])["x"][0]) == 0.0
