"""A closed loop on engines that are slow, and on engines that are not there."""

from __future__ import annotations

import itertools
import time

import pytest

from benchmarks.serving.closed_loop import closed_loop
from deployment.triton.server import check
from engines.engine import Array, EngineBase, Feed
from engines.errors import EngineError


class Slow(EngineBase):
    """Takes its time for an answer."""

    _inputs = _outputs = ()

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def infer(self, feed: Feed) -> dict[str, Array]:
        time.sleep(self._seconds)
        return {}

    def close(self) -> None: ...


def test_requests_longer_than_the_time_asked_for_are_counted() -> None:
    load = closed_loop(lambda: Slow(0.3), [{}], clients=2, seconds=0.1, warmup=0.05)
    assert load.requests == 2 and load.latency_ms is not None
    assert load.seconds > 0.1, "until the last answer came"


class Failing(Slow):
    """Answers nothing."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(0.0)
        self._reasons = itertools.cycle(reasons)

    def infer(self, feed: Feed) -> dict[str, Array]:
        raise EngineError(next(self._reasons), where="somewhere")


def test_it_is_told_why_requests_failed_also_where_all_clients_gave_up_in_the_warm_up() -> None:
    load = closed_loop(lambda: Failing("gone", "gone", "busy"), [{}], clients=2, seconds=0.2, warmup=0.1)
    assert (load.requests, load.failed) == (0, 10)
    assert load.error == "8 × somewhere: gone; 2 × somewhere: busy"
    alone = closed_loop(lambda: Failing("gone"), [{}], clients=1, seconds=0.2)
    assert alone.error == "somewhere: gone" and alone.failed == 5


def test_a_client_that_cannot_open_its_engine_ends_the_loop() -> None:
    def broken() -> EngineBase:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        closed_loop(broken, [{}], clients=2, seconds=0.1)


def test_a_slow_engine_is_asked_by_as_many_as_it_answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "TIMEOUT_SECONDS", 0.5)
    [loads] = check.check_loads(Slow(0.1), lambda: Slow(0.1), [(1, {})], seconds=0.4)
    assert loads.served.clients == 2 and loads.ratio > 1
