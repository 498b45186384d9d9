"""Steady measurement: warm-up until warm, engines interleaved, outliers listed, and a gate that says when the numbers
are too noisy to trust.

The engines run in alternating bursts of about 30 ms. The median of a burst forgets single stalls, so how burst medians
vary tells drift (other load, throttling) from tails. The ratio of two engines is taken burst by burst, each pair a few
milliseconds apart, and its interval is that of a median (order statistics, no distribution assumed).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.measurement import OUTLIER_MADS, Latency, Verdict, summarize_latency
from benchmarks.timing.bursts import Ratio, Timings, burst_medians, compare_bursts, variation
from benchmarks.timing.conditions import Conditions, read_conditions
from benchmarks.timing.latency import BURST_SECONDS, LATENCY_RUNS, time_in_turns
from engines.engine import Engine, Feed

LARGEST_VARIATION = 0.05
"""Variation (standard deviation over mean) of burst medians above which timings are not trusted; chosen."""
LARGEST_WARMING_C, LARGEST_CLOCK_DROP = 15.0, 0.10
"""Warming in degrees Celsius, and drop of the clock as a share, from which the machine is said to throttle; chosen."""
LISTED_OUTLIERS = 10
"""Outliers that are listed; all are counted. Chosen."""
WARM_WITHIN, LONGEST_WARMUP_S, WARMUP_WINDOW, WINDOW_OF_SLOW = 0.05, 2.0, 3, 2
"""An engine is warm when its last three runs are less than 5 % faster than the three before; two seconds at most are
waited for that. Chosen: a cold cache or a first allocation costs the first run or two. Of an engine whose run is as
long as a burst two stand in the place of three.
"""


@dataclass(frozen=True)
class Outlier:
    """One slow run: ``at_s`` seconds into the measurement it took ``ms``, ``factor`` times the median."""

    at_s: float
    ms: float
    factor: float


@dataclass(frozen=True)
class Spread:
    """How steady one engine's runs were.

    ``variation`` is the coefficient of variation of burst medians (standard deviation over mean), ``outliers`` the
    slowest of ``outlier_count`` runs more than eight median absolute deviations above the median; ``warmup_runs`` ran
    before timing began.
    """

    variation: float
    bursts: int
    warmup_runs: int
    outlier_count: int = 0
    outliers: list[Outlier] = field(default_factory=list)


@dataclass(frozen=True)
class Steadiness:
    """What stands behind a set of timings. ``trusted`` is the gate; ``reasons`` name what disturbed the measurement.

    ``speedup`` compares every engine with the first, the ``baseline``.
    """

    trusted: bool
    reasons: list[str]
    baseline: str
    engines: dict[str, Spread]
    speedup: dict[str, Ratio]
    before: Conditions
    after: Conditions


@dataclass(frozen=True)
class SteadyRun:
    """Latencies by engine, and their steadiness."""

    latency: dict[str, Latency]
    steadiness: Steadiness


def measure_steady(
    engines: Mapping[str, Engine],
    feeds: Mapping[str, Feed],
    *,
    seconds: float = 1.0,
    min_runs: int = LATENCY_RUNS,
    until_known: bool = False,
) -> SteadyRun:
    """Warm every engine up, time them in turns for ``seconds`` each (or ``until_known``), and judge it. The first is
    the baseline.
    """
    before = read_conditions()
    warmup = {name: warm_up(engine, feeds[name]) for name, engine in engines.items()}
    timings = time_in_turns(engines, feeds, seconds, min_runs, until_known=until_known)
    after = read_conditions()
    spreads = {name: _spread(found, warmup[name]) for name, found in timings.items()}
    baseline = next(iter(engines))
    verdict = judge(spreads, before, after)
    return SteadyRun(
        {name: summarize_latency(found.seconds) for name, found in timings.items()},
        Steadiness(
            trusted=verdict.ok,
            reasons=list(verdict.reasons),
            baseline=baseline,
            engines=spreads,
            speedup={n: compare_bursts(timings[baseline], t) for n, t in timings.items() if n != baseline},
            before=before,
            after=after,
        ),
    )


def warm_up(engine: Engine, feed: Feed) -> int:
    """Run until the last runs, three or of a slow engine two, are no faster than as many before by 5 %, two seconds at
    most; how many.
    """
    times: list[float] = []
    until = time.perf_counter() + LONGEST_WARMUP_S
    while not _warm(times) and (time.perf_counter() < until or len(times) < 2):
        start = time.perf_counter()
        engine.infer(feed)
        times.append(time.perf_counter() - start)
    return len(times)


def _warm(times: Sequence[float]) -> bool:
    window = WINDOW_OF_SLOW if times and times[-1] > BURST_SECONDS else WARMUP_WINDOW
    if len(times) < 2 * window:
        return False
    before = float(np.median(times[-2 * window : -window]))
    return float(np.median(times[-window:])) >= before * (1 - WARM_WITHIN)


def _spread(timings: Timings, warmup_runs: int) -> Spread:
    medians = list(burst_medians(timings).values())
    found = list(_outliers(timings))
    worst = sorted(found, key=lambda outlier: -outlier.ms)[:LISTED_OUTLIERS]
    return Spread(variation(medians), len(medians), warmup_runs, len(found), worst)


def _outliers(timings: Timings) -> Iterator[Outlier]:
    seconds = np.asarray(timings.seconds)
    median = float(np.median(seconds))
    spread = float(np.median(np.abs(seconds - median)))
    bound = median + OUTLIER_MADS * max(spread, 1e-3 * median)
    for index in np.flatnonzero(seconds > bound):
        taken = timings.seconds[index]
        yield Outlier(round(timings.starts[index], 4), round(taken * 1e3, 4), round(taken / median, 2))


def judge(spreads: Mapping[str, Spread], before: Conditions, after: Conditions) -> Verdict:
    """The gate: not ok where an engine's bursts vary by more than 5 %, or the machine grew hot or slow on the way."""
    noisy = [f"{s.variation:.1%} ({name})" for name, s in spreads.items() if s.variation > LARGEST_VARIATION]
    reasons = [f"bursts vary by {', '.join(noisy)}, over the gate of {LARGEST_VARIATION:.0%}"] if noisy else []
    reasons += _machine_changes(before, after)
    if reasons and not after.quiet:
        cores = "1 core" if after.cores == 1 else f"{after.cores} cores"
        reasons.append(f"load average {after.load_average:.1f} on {cores}: other processes compete")
    return Verdict(not reasons, tuple(reasons))


def _machine_changes(before: Conditions, after: Conditions) -> Iterator[str]:
    if before.temperature_c is not None and after.temperature_c is not None:
        rise = after.temperature_c - before.temperature_c
        if rise > LARGEST_WARMING_C:
            yield f"the processor warmed by {rise:.0f} °C while measuring"
    for old, new in zip(before.gpus, after.gpus, strict=False):
        if old.sm_mhz and new.sm_mhz and new.sm_mhz < old.sm_mhz * (1 - LARGEST_CLOCK_DROP):
            yield f"{new.name} went from {old.sm_mhz} to {new.sm_mhz} MHz while measuring"
