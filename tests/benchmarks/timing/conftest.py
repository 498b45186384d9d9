"""A clock that only sleeping moves: what is timed takes exactly as long as it says, on a busy machine too."""

from __future__ import annotations

import time

import pytest

TICK_S = 1e-6
"""What reading the clock takes, so that a loop that waits for it ends."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def read() -> float:
        now[0] += TICK_S
        return now[0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "perf_counter", read)
    monkeypatch.setattr(time, "sleep", sleep)
