"""Speed of one engine: host and device latency per batch, and throughput and energy with batches in flight."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.batching import repeat_to_batch, sample_count
from benchmarks.measurement import Latency
from benchmarks.timing.latency import measure_latency
from engines.engine import Array, Engine, Feed
from engines.tensorrt.runtime.engine import Flight, TensorRtEngine

WARMUP_RUNS = 5
DEVICE_RUNS = 100


class JouleSource(Protocol):
    """Something that counts energy; None where it cannot."""

    def joules(self) -> float | None: ...


@dataclass(frozen=True)
class DeviceLatency:
    """Median milliseconds between CUDA events over ``n`` runs."""

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float
    n: int


@dataclass(frozen=True)
class SpeedRow:
    """One batch size. ``samples_per_s`` keeps every slot busy; ``joules_per_sample`` is the board's over that time."""

    batch: int
    host: Latency
    device: DeviceLatency | None
    samples_per_s: float
    joules_per_sample: float | None


def measure_speed(
    engine: Engine, feed: Feed, batches: list[int], seconds: float, energy: JouleSource
) -> list[SpeedRow]:
    """A row per batch size; one row, with the feed as it is, for a model that takes no batches."""
    feeds = [repeat_to_batch(engine.inputs, feed, batch) for batch in batches]
    usable: list[Feed] = [made for made in feeds if made is not None] or [feed]
    return [_row(engine, given, seconds, energy) for given in usable]


def _row(engine: Engine, feed: Feed, seconds: float, energy: JouleSource) -> SpeedRow:
    host = measure_latency({"it": engine}, feed, seconds=seconds, warmup_runs=WARMUP_RUNS)["it"]
    device = device_latency(engine, feed) if isinstance(engine, TensorRtEngine) else None
    samples, elapsed, joules = _keep_busy(engine, feed, seconds, energy)
    return SpeedRow(
        batch=sample_count(engine.inputs, feed),
        host=host,
        device=device,
        samples_per_s=samples / elapsed,
        joules_per_sample=None if joules is None else joules / samples,
    )


def device_latency(engine: TensorRtEngine, feed: Feed, runs: int = DEVICE_RUNS) -> DeviceLatency:
    """Medians of copy in, compute and copy out, one batch in flight at a time."""
    times = []
    for _ in range(runs):
        flight = engine.submit(feed)
        engine.collect(flight)
        if flight.times is not None:
            times.append((flight.times.copy_in_ms, flight.times.compute_ms, flight.times.copy_out_ms))
    copy_in, compute, copy_out = (float(value) for value in np.median(np.asarray(times), axis=0))
    return DeviceLatency(copy_in, compute, copy_out, len(times))


def _keep_busy(engine: Engine, feed: Feed, seconds: float, energy: JouleSource) -> tuple[int, float, float | None]:
    """(samples, seconds, joules) of running ``feed`` again and again with every slot in flight."""
    batch, done = sample_count(engine.inputs, feed), 0
    before, started = energy.joules(), time.perf_counter()
    pipeline = _Pipeline(engine)
    while time.perf_counter() - started < seconds:
        done += pipeline.push(feed)
    done += pipeline.drain()
    elapsed, after = time.perf_counter() - started, energy.joules()
    return done * batch, elapsed, None if before is None or after is None else after - before


class _Pipeline:
    """Feeds an engine so that all its slots stay in flight; engines without slots run one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._flights: deque[Flight] = deque()

    def push(self, feed: Feed) -> int:
        """Start one batch; returns how many batches are finished by it."""
        if not isinstance(self._engine, TensorRtEngine):
            self._engine.infer(feed)
            return 1
        finished = 0
        if len(self._flights) == self._engine.slots:
            self._collect(self._engine)
            finished = 1
        self._flights.append(self._engine.submit(feed))
        return finished

    def _collect(self, engine: TensorRtEngine) -> dict[str, Array]:
        return engine.collect(self._flights.popleft())

    def drain(self) -> int:
        count = len(self._flights)
        if isinstance(self._engine, TensorRtEngine):
            while self._flights:
                self._collect(self._engine)
        return count
