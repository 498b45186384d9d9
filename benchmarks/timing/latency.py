"""Latency and throughput of engines in one process, interleaved so that ratios hold on a machine that is not quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.measurement import Latency, summarize_latency
from engines.engine import Engine, Feed

BURST_SECONDS = 0.03
"""How long one engine runs before the next has its turn: many short runs, yet below the seconds over which clocks
drift.
"""
SLOW_FACTOR = 4.0
"""How many times the asked duration an engine may take for its minimum of runs."""


def measure_latency(
    engines: Mapping[str, Engine], feed: Feed, *, seconds: float = 1.0, min_runs: int = 20, warmup_runs: int = 3
) -> dict[str, Latency]:
    """Time ``infer(feed)`` of every engine for ``seconds`` each, at least ``min_runs`` times.

    The engines take turns in bursts of about 30 ms, in alternating order (A B, B A, ...): a slow moment of the machine
    falls on all of them. An engine so slow that ``min_runs`` take over four times ``seconds`` stops there with
    fewer (never under three) and says so in ``n``.
    """
    times = time_interleaved(engines, dict.fromkeys(engines, feed), seconds, min_runs, warmup_runs)
    return {name: summarize_latency(values) for name, values in times.items()}


@dataclass(frozen=True)
class Timings:
    """Timed runs of one engine, in order: when each started (seconds since the first of all), how long it took, and
    in which round of bursts it fell."""

    starts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)


def time_interleaved(
    engines: Mapping[str, Engine], feeds: Mapping[str, Feed], seconds: float, min_runs: int, warmup_runs: int
) -> dict[str, list[float]]:
    """Seconds of every timed run per engine; each engine gets its own feed."""
    for name, engine in engines.items():
        for _ in range(warmup_runs):
            engine.infer(feeds[name])
    return {name: timings.seconds for name, timings in time_in_turns(engines, feeds, seconds, min_runs).items()}


def time_in_turns(
    engines: Mapping[str, Engine], feeds: Mapping[str, Feed], seconds: float, min_runs: int
) -> dict[str, Timings]:
    """Time warm engines in alternating bursts, as ``measure_latency`` describes; everything about every run."""
    times = {name: Timings() for name in engines}
    order, number, origin = list(engines), 0, time.perf_counter()
    while pending := [name for name in order if not _done(times[name].seconds, seconds, min_runs)]:
        for name in pending:
            _burst(engines[name], feeds[name], times[name], number, origin)
        order.reverse()
        number += 1
    return times


def _done(times: Sequence[float], seconds: float, min_runs: int) -> bool:
    spent = sum(times)
    return (spent >= seconds and len(times) >= min_runs) or (spent >= SLOW_FACTOR * seconds and len(times) >= 3)


def _burst(engine: Engine, feed: Feed, times: Timings, number: int, origin: float) -> None:
    until = time.perf_counter() + BURST_SECONDS
    while True:
        start = time.perf_counter()
        engine.infer(feed)
        end = time.perf_counter()
        times.starts.append(start - origin)
        times.seconds.append(end - start)
        times.rounds.append(number)
        if end >= until:
            return
