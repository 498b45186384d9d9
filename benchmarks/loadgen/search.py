"""The highest Server rate that is valid under the latency bound, with the curve of latency against load."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.loadgen.curve import LoadPoint, SearchSummary, ServedRate, WaitedRate
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import MIN_QUERIES, LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario

PRECISION, MOST_PROBES, FIRST = 0.04, 10, 0.8
"""How near the highest valid rate is bracketed, in how many short runs at most, and the share of the Offline throughput
that is tried first. Chosen."""
GROW, SHRINK, BACK_OFF = 1.2, 0.75, 0.94
"""Factors on the rate: the next to try while runs are valid, while they are not, and after a full run that did not
confirm. Chosen.
"""
MORE_ENGINES = 1.08
"""Another number of engine instances, or a longer wait, is searched where it reaches 8 % more in a probe. Chosen."""
WAITS = (0.02, 0.05, 0.1)
"""Shares of the bound on p99 that a free engine is tried to wait for more samples, each as long as it bears more than
the one before: a server's queue delay. Longer ones leave little of the bound for what follows. Chosen."""
CONFIRMATIONS = 4
"""Full runs that may fail before the search gives up; four of them lower the rate by a fifth. Chosen."""
LIGHT_LOADS = (0.25, 0.5, 0.75)
"""Shares of the best rate that complete the curve of latency against load. Chosen."""
LIGHT_PROBES = 10
"""A light load is skipped where its least number of queries takes longer than so many probes. Chosen."""


@dataclass(frozen=True)
class ServerSearch:
    """``qps`` is the confirmed rate (0 where none was), ``offline_qps`` the Offline throughput of the same number of
    engine instances, ``curve`` theirs, and ``rates`` what each number of them bore in the short runs; ``waits`` what
    they bore when a free one waits for more samples.
    """

    qps: float
    offline_qps: float
    confirmed: LoadgenResult
    curve: list[LoadPoint] = field(default_factory=list)
    rates: list[ServedRate] = field(default_factory=list)
    waits: list[WaitedRate] = field(default_factory=list)

    @property
    def share_of_offline(self) -> float:
        return self.qps / self.offline_qps if self.offline_qps else 0.0

    def summary(self) -> SearchSummary:
        return SearchSummary(self.offline_qps, self.share_of_offline, self.curve, servers=self.rates, waits=self.waits)


@dataclass
class _Engines:
    """The search with one number of engine instances."""

    request: LoadgenRequest
    probe_s: float
    run: Callable[[LoadgenRequest], LoadgenResult]
    offline: LoadgenResult
    best: float = 0.0
    curve: list[LoadPoint] = field(default_factory=list)

    @classmethod
    def started(
        cls, request: LoadgenRequest, workers: int, probe_s: float, run: Callable[[LoadgenRequest], LoadgenResult]
    ) -> _Engines:
        """With the Offline throughput of ``workers`` instances measured."""
        request = replace(request, settings=replace(request.settings, workers=workers))
        return cls(request, probe_s, run, run(_offline(request, probe_s)))

    @property
    def offline_qps(self) -> float:
        return self.offline.value or 0.0

    def valid(self, qps: float) -> bool:
        result = self.run(_probing(self.request, qps, self.probe_s))
        self.curve.append(LoadPoint(qps, result.p50, result.p90, result.p99, result.valid))
        return result.valid

    def climb(self, start: float, precision: float, max_probes: int, known: float = 0.0) -> None:
        self.best = bisect(self.valid, start, precision, max_probes, known)

    def waiting(self, wait_ms: float) -> _Engines:
        """The same instances, which wait so long for more samples."""
        settings = replace(self.request.settings, max_wait_ms=wait_ms)
        return _Engines(replace(self.request, settings=settings), self.probe_s, self.run, self.offline)

    def beats(self, other: _Engines, precision: float, max_probes: int) -> bool:
        """Whether these bear clearly more than ``other``; if so how much."""
        if self.valid(known := MORE_ENGINES * other.best):
            self.climb(GROW * known, precision, max_probes, known)
        return self.best > other.best

    def light_loads(self) -> None:
        for share in LIGHT_LOADS:
            if self.best and MIN_QUERIES[Scenario.SERVER] / (share * self.best) < LIGHT_PROBES * self.probe_s:
                self.valid(share * self.best)
        self.curve.sort(key=lambda point: point.qps)


def search_server(
    request: LoadgenRequest,
    *,
    workers: Sequence[int] | None = None,
    probe_s: float = 2.0,
    precision: float = PRECISION,
    max_probes: int = MOST_PROBES,
    run: Callable[[LoadgenRequest], LoadgenResult] = run_loadgen,
) -> ServerSearch:
    """Bracket from 80 % of the Offline throughput, bisect with runs of ``probe_s`` seconds until the bracket is within
    ``precision``, then measure lighter loads for the curve, and confirm with the full duration of ``request``, backing
    off where a confirming run fails.

    ``workers`` are the numbers of engine instances to try (default: those of the request); each is searched as long as
    it serves more than the one before, and so is how long a free one waits for more samples.
    """
    best: _Engines | None = None
    rates: list[ServedRate] = []
    for count in workers or (request.settings.workers,):
        engines = _Engines.started(request, count, probe_s, run)
        if best is None and not engines.offline_qps:
            return ServerSearch(0.0, 0.0, engines.offline)
        if best is None or not best.best:
            engines.climb(FIRST * engines.offline_qps, precision, max_probes)
            found = True
        else:
            found = engines.beats(best, precision, max_probes)
        rates.append(ServedRate(count, engines.best or None))
        if not found:
            break
        best = engines
    assert best is not None
    best, waits = _longer_waits(best, precision, max_probes)
    best.light_loads()
    confirmed = _confirm(best.request, best.best or 0.4 * best.offline_qps, run)
    qps = (confirmed.target_qps or 0.0) if confirmed.valid else 0.0
    return ServerSearch(qps, best.offline_qps, confirmed, best.curve, rates, waits)


def _longer_waits(best: _Engines, precision: float, max_probes: int) -> tuple[_Engines, list[WaitedRate]]:
    """Of waits longer and longer the best, and what each bore; none is tried where the request says how long, or no
    sample is joined with another."""
    if not best.best or best.request.settings.max_wait_ms or best.offline.batch == 1:
        return best, []
    waits = [WaitedRate(0.0, best.best)]
    for share in WAITS:
        longer = best.waiting(round(share * best.request.settings.latency_bound_ms, 3))
        found = longer.beats(best, precision, max_probes)
        waits.append(WaitedRate(longer.request.settings.max_wait_ms, longer.best or None))
        if not found:
            break
        best = longer
    return best, waits


def bisect(
    valid: Callable[[float], bool], start: float, precision: float, max_probes: int, known: float = 0.0
) -> float:
    """The highest rate seen valid, ``known`` where none was: bracket by growing or shrinking, then halve."""
    low, high, rate = known, math.inf, start
    for _ in range(max_probes):
        if valid(rate):
            low = max(low, rate)
        else:
            high = min(high, rate)
        if low and high <= low * (1 + precision):
            break
        if not low:
            rate = high * SHRINK
        elif math.isinf(high):
            rate = low * GROW
        else:
            rate = math.sqrt(low * high)
    return low


def _offline(request: LoadgenRequest, seconds: float) -> LoadgenRequest:
    settings = replace(request.settings, scenario=Scenario.OFFLINE, duration_s=seconds, official="", shortened=False)
    return _in(request, settings, "offline")


def _probing(request: LoadgenRequest, qps: float, seconds: float) -> LoadgenRequest:
    limit = max(3 * seconds, 1.3 * MIN_QUERIES[Scenario.SERVER] / qps)
    settings = replace(request.settings, scenario=Scenario.SERVER, duration_s=seconds, limit_s=limit, target_qps=qps)
    return _in(request, replace(settings, official="", shortened=False), "search")


def _confirm(request: LoadgenRequest, qps: float, run: Callable[[LoadgenRequest], LoadgenResult]) -> LoadgenResult:
    for _ in range(CONFIRMATIONS):
        settings = replace(request.settings, scenario=Scenario.SERVER, target_qps=qps)
        result = run(replace(request, settings=settings))
        if result.valid:
            break
        qps *= BACK_OFF
    return result


def _in(request: LoadgenRequest, settings: LoadgenSettings, folder: str) -> LoadgenRequest:
    return replace(request, settings=settings, log_dir=str(Path(request.log_dir) / folder))
