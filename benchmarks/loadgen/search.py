"""The highest Server rate that is valid under the latency bound, with the curve of latency against load."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.loadgen.curve import LoadPoint, SearchSummary
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import MIN_QUERIES, LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario

GROW, SHRINK, BACK_OFF = 1.2, 0.75, 0.94
CONFIRMATIONS = 4
LIGHT_LOADS = (0.25, 0.5, 0.75)  # shares of the best rate that complete the curve of latency against load
LIGHT_PROBES = 10  # a light load is skipped where its least number of queries takes longer than so many probes


@dataclass(frozen=True)
class ServerSearch:
    """``qps`` is the confirmed rate (0 where none was), ``offline_qps`` the Offline throughput it is compared with."""

    qps: float
    offline_qps: float
    confirmed: LoadgenResult
    curve: list[LoadPoint] = field(default_factory=list)

    @property
    def share_of_offline(self) -> float:
        return self.qps / self.offline_qps if self.offline_qps else 0.0

    def summary(self) -> SearchSummary:
        return SearchSummary(self.offline_qps, self.share_of_offline, self.curve)


def search_server(
    request: LoadgenRequest,
    *,
    probe_s: float = 2.0,
    precision: float = 0.04,
    max_probes: int = 10,
    run: Callable[[LoadgenRequest], LoadgenResult] = run_loadgen,
) -> ServerSearch:
    """Bracket from 80 % of the Offline throughput, bisect with runs of ``probe_s`` seconds until the bracket is within
    ``precision``, then measure lighter loads for the curve, and confirm with the full duration of ``request``, backing
    off where a confirming run fails.
    """
    offline = run(_offline(request, probe_s))
    offline_qps = offline.value or 0.0
    if not offline_qps:
        return ServerSearch(0.0, 0.0, offline)
    curve: list[LoadPoint] = []

    def valid(qps: float) -> bool:
        result = run(_probing(request, qps, probe_s))
        curve.append(LoadPoint(qps, result.p50, result.p90, result.p99, result.valid))
        return result.valid

    best = bisect(valid, 0.8 * offline_qps, precision, max_probes)
    for share in LIGHT_LOADS:
        if best and MIN_QUERIES[Scenario.SERVER] / (share * best) < LIGHT_PROBES * probe_s:
            valid(share * best)
    confirmed = _confirm(request, best or 0.4 * offline_qps, run)
    curve.sort(key=lambda point: point.qps)
    return ServerSearch((confirmed.target_qps or 0.0) if confirmed.valid else 0.0, offline_qps, confirmed, curve)


def bisect(valid: Callable[[float], bool], start: float, precision: float, max_probes: int) -> float:
    """The highest rate seen valid, 0 where none was: grow or shrink to a bracket, then halve it geometrically."""
    low, high, rate = 0.0, math.inf, start
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
