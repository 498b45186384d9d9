"""The best Offline setting: how many engine instances, and which batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.loadgen.curve import SearchSummary, SettingPoint
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, Scenario
from engines.parallel import available_cores

FIRST_BATCH, LARGEST_BATCH = 8, 512
"""Samples per batch: where the search starts, and where it ends even if throughput still grows. Chosen."""
GAIN = 1.02
"""A neighbouring setting must bring 2 % more samples per second to be gone to. Chosen."""


@dataclass(frozen=True)
class OfflineSearch:
    """``confirmed`` is the full run with the best setting; ``points`` every setting tried, best first."""

    confirmed: LoadgenResult
    points: list[SettingPoint] = field(default_factory=list)

    def summary(self) -> SearchSummary:
        return SearchSummary(offline_qps=self.confirmed.value, settings=self.points)


def search_offline(
    request: LoadgenRequest,
    *,
    probe_s: float = 1.0,
    workers: Sequence[int] | None = None,
    run: Callable[[LoadgenRequest], LoadgenResult] = run_loadgen,
) -> OfflineSearch:
    """For each number of engine instances climb from a batch of 8 by doubling and halving while throughput grows, with
    runs of ``probe_s`` seconds; then confirm the best setting with the full duration of ``request``.
    """
    rates: dict[tuple[int, int], float | None] = {}

    def rate(count: int, batch: int) -> float:
        if (count, batch) not in rates:
            result = run(_setting(request, count, batch, probe_s, "search"))
            rates[count, batch] = result.value if result.valid else None
        return rates[count, batch] or 0.0

    for count in workers or instance_counts():
        _climb(lambda batch, count=count: rate(count, batch))  # type: ignore[misc]
    best = max(rates, key=lambda setting: rates[setting] or 0.0)
    confirmed = run(_setting(request, *best, None, ""))
    points = [SettingPoint(count, batch, value) for (count, batch), value in rates.items()]
    return OfflineSearch(confirmed, sorted(points, key=lambda point: -(point.samples_per_s or 0.0)))


def instance_counts() -> list[int]:
    """1, 2, 4, ... up to the cores at hand."""
    return [1 << power for power in range(available_cores().bit_length()) if 1 << power <= available_cores()]


def _climb(rate: Callable[[int], float]) -> None:
    batch, best = FIRST_BATCH, rate(FIRST_BATCH)
    for larger in (True, False):
        while True:
            neighbour = batch * 2 if larger else batch // 2
            if not 1 <= neighbour <= LARGEST_BATCH or (found := rate(neighbour)) < GAIN * best:
                break
            batch, best = neighbour, found


def _setting(request: LoadgenRequest, workers: int, batch: int, seconds: float | None, folder: str) -> LoadgenRequest:
    settings = replace(request.settings, scenario=Scenario.OFFLINE, workers=workers, batch=batch)
    if seconds is not None:
        settings = replace(settings, duration_s=seconds, official="", shortened=False)
    return replace(request, settings=settings, log_dir=str(Path(request.log_dir) / folder))
