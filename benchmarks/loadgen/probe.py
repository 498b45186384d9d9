"""The first phase of a run: warm the engine up and learn what load it can take, so that the real run can be valid."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from benchmarks.samples.execute import Executor
from engines.feeds.portions import largest_batch

BATCHES = (2, 4, 8, 16, 32, 64)
"""Batch sizes that are timed besides 1. Chosen."""
PROBE_SECONDS, MOST_RUNS = 0.25, 2000
"""How long each is timed, and how often at most. Chosen."""
GAIN = 1.03
"""A larger batch must bring 3 % more samples per second to be worth its latency. Chosen."""
NEAR_BEST = 0.9
"""Part of the best rate that a batch may come down to and still count as no slower. Chosen."""


@dataclass(frozen=True)
class BatchSpeed:
    """Seconds per inference of ``batch`` samples. The mean plans how long a run takes; the median, which other
    processes disturb less, ranks batch sizes.
    """

    batch: int
    fastest: float
    median: float
    mean: float

    @property
    def samples_per_s(self) -> float:
        return self.batch / self.mean

    @property
    def undisturbed_rate(self) -> float:
        return self.batch / self.median


@dataclass(frozen=True)
class Probe:
    """Speeds by batch size; batch 1 first. ``failed`` says why the engine cannot even start, else empty."""

    speeds: list[BatchSpeed] = field(default_factory=list)
    failed: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def single(self) -> BatchSpeed:
        return self.speeds[0]

    def best(self, longest: float | None = None) -> BatchSpeed:
        """The batch with the most samples per second among those no slower than ``longest`` seconds."""
        usable = [s for s in self.speeds if longest is None or s.mean <= longest] or self.speeds[:1]
        best = usable[0]
        for speed in usable[1:]:
            if speed.undisturbed_rate > best.undisturbed_rate * GAIN:
                best = speed
        return best

    def roomiest(self, longest: float) -> BatchSpeed:
        """The largest batch no slower than ``longest`` seconds that loses at most a tenth of the best rate.

        Where queries queue up, larger batches drain the queue; where they do not, batches stay small by themselves.
        """
        best = self.best(longest)
        able = [s for s in self.speeds if s.mean <= longest and s.undisturbed_rate >= NEAR_BEST * best.undisturbed_rate]
        return max([best, *able], key=lambda speed: speed.batch)


def probe(executor: Executor, max_batch: int | None, batch: int | None = None) -> Probe:
    """Time batch 1, then growing batches while they pay, up to what the engine's profiles take, or just ``batch``;
    samples must be loaded. Takes about two seconds at most unless one inference is slower than that.
    """
    executor.learn_splitting()
    sizes = sorted({1, batch}) if batch and executor.splits else _sizes(executor, 1 if batch else max_batch)
    speeds: list[BatchSpeed] = []
    notes: list[str] = []
    for size in sizes:
        speed = _time(executor, size)
        if speed is None and not speeds:
            return Probe(failed="; ".join(executor.failures.sentences()))
        if speed is None:
            notes.append(f"batch {size} fails, so batches stay below it: {'; '.join(executor.failures.sentences())}")
            executor.failures.counts.clear()
            executor.failures.first.clear()
            break
        speeds.append(speed)
        if speed.mean > 4 * PROBE_SECONDS or not _still_gaining(speeds):
            break
    return Probe(speeds, notes=notes)


def _still_gaining(speeds: list[BatchSpeed]) -> bool:
    """Whether one of the last two batch sizes beat all smaller ones."""
    if len(speeds) < 3:
        return True
    before = max(speed.undisturbed_rate for speed in speeds[:-2])
    return max(speed.undisturbed_rate for speed in speeds[-2:]) > before * GAIN


def _sizes(executor: Executor, max_batch: int | None) -> list[int]:
    if max_batch == 1 or not executor.splits:
        return [1]
    bounds = [bound for bound in (max_batch, largest_batch(executor.engine)) if bound is not None]
    limit = min([*bounds, *([] if max_batch else [BATCHES[-1]])])
    return [1, *sorted({size for size in BATCHES if size <= limit} | ({limit} if limit in bounds else set()) - {1})]


def _time(executor: Executor, size: int) -> BatchSpeed | None:
    """None when an inference failed."""
    count = executor.library.loaded
    indices = [0] * size if not executor.library.uniform else [k % count for k in range(size)]
    if executor.run(indices) is None:
        return None
    times: list[float] = []
    while not times or (sum(times) < PROBE_SECONDS and len(times) < MOST_RUNS):
        start = time.perf_counter()
        if executor.run(indices) is None:
            return None
        times.append(time.perf_counter() - start)
    return BatchSpeed(size, min(times), statistics.median(times), sum(times) / len(times))
