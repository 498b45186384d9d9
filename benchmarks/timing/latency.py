"""Latency and throughput of engines in one process, interleaved so that ratios hold on a machine that is not quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.measurement import Latency, summarize_latency
from benchmarks.timing.bursts import Timings, known
from engines.engine import Engine, Feed

BURST_SECONDS = 0.03
"""How long one engine runs before the next has its turn: many short runs, yet below the seconds over which clocks
drift. Chosen.
"""
SLOW_FACTOR = 4.0
"""How many times the asked duration an engine may take for its minimum of runs. Chosen."""
LATENCY_RUNS = 20
"""Runs that a latency is the median of at least; chosen: its 90th percentile is then a run that was seen."""


def measure_latency(
    engines: Mapping[str, Engine],
    feed: Feed,
    *,
    seconds: float = 1.0,
    min_runs: int = LATENCY_RUNS,
    warmup_runs: int = 3,
    until_known: bool = False,
) -> dict[str, Latency]:
    """Time ``infer(feed)`` of every engine for ``seconds`` each, at least ``min_runs`` times.

    The engines take turns in bursts of about 30 ms, in alternating order (A B, B A, ...): a slow moment of the machine
    falls on all of them. An engine so slow that ``min_runs`` take over four times ``seconds`` stops there with
    fewer (never under three) and says so in ``n``. ``until_known``: all of them end earlier where medians and ratios
    are known (``bursts.known``).
    """
    for engine in engines.values():
        for _ in range(warmup_runs):
            engine.infer(feed)
    times = time_in_turns(engines, dict.fromkeys(engines, feed), seconds, min_runs, until_known=until_known)
    return {name: summarize_latency(timings.seconds) for name, timings in times.items()}


def time_in_turns(
    engines: Mapping[str, Engine],
    feeds: Mapping[str, Feed],
    seconds: float,
    min_runs: int,
    *,
    until_known: bool = False,
) -> dict[str, Timings]:
    """Time warm engines, each on its own feed, in alternating bursts, as ``measure_latency`` describes; everything
    about every run.
    """
    times = {name: Timings() for name in engines}
    medians: dict[str, dict[int, float]] = {name: {} for name in engines}
    order, number, origin = list(engines), 0, time.perf_counter()
    while pending := [name for name in order if not _done(times[name].seconds, seconds, min_runs)]:
        for name in pending:
            before = len(times[name].seconds)
            _burst(engines[name], feeds[name], times[name], number, origin)
            medians[name][number] = median(times[name].seconds[before:])
        order.reverse()
        number += 1
        enough = all(len(one.seconds) >= min_runs for one in times.values())
        if until_known and enough and known(list(medians.values())):
            break
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
