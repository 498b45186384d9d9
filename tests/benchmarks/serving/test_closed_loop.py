"""A closed loop on engines that are slow, and on engines that are not there."""

from __future__ import annotations

import time

import pytest

from benchmarks.serving.closed_loop import closed_loop
from deployment.triton import check
from engines.engine import Array, EngineBase, Feed


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


def test_a_client_that_cannot_open_its_engine_ends_the_loop() -> None:
    def broken() -> EngineBase:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        closed_loop(broken, [{}], clients=2, seconds=0.1)


def test_a_slow_engine_is_asked_by_as_many_as_it_answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "TIMEOUT_SECONDS", 0.5)
    [loads] = check.check_loads(Slow(0.1), lambda: Slow(0.1), [(1, {})], seconds=0.4)
    assert loads.served.clients == 2 and loads.ratio > 1
