"""Engines that take a batch while others are under way, kept busy: what a GPU does when its copies are hidden."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from engines.engine import Array, Engine, EngineBase, Feed

BATCHES_PER_SLOT = 4
"""Batches of a train for each slot of the engine: filling and draining are at most a fourth of it. Chosen."""
LONGEST_TRAIN_MS = 1000.0
"""A train that would take longer has fewer batches: copies are next to nothing for an engine so slow. Chosen."""
DEVICE_RUNS, DEVICE_SECONDS = 100, 2.0
"""Runs that device times are the median of, one batch in flight, and the seconds after which fewer do; chosen."""


@runtime_checkable
class TakesSeveral(Protocol):
    """An engine with ``slots`` batches in flight (``engines.tensorrt.runtime.engine.TensorRtEngine``)."""

    @property
    def slots(self) -> int: ...

    def submit(self, feed: Any) -> Any: ...

    def collect(self, flight: Any) -> dict[str, Array]: ...


@runtime_checkable
class TellsLayers(Protocol):
    """An engine that says where one inference spends its time."""

    def layer_times(self, feed: Any) -> dict[str, float]: ...


@dataclass(frozen=True)
class DeviceLatency:
    """Median milliseconds between CUDA events over ``n`` runs of one batch in flight."""

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float
    n: int


class Train(EngineBase):
    """``infer`` runs ``length`` copies of its feed through ``engine``, every slot in flight, and waits for the last."""

    def __init__(self, engine: Engine, flights: TakesSeveral, length: int) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._flights, self.length = flights, length

    def infer(self, feed: Feed) -> dict[str, Array]:
        """The outputs of the last copy."""
        under_way: deque[Any] = deque()
        outputs: dict[str, Array] = {}
        for _ in range(self.length):
            if len(under_way) == self._flights.slots:
                outputs = self._flights.collect(under_way.popleft())
            under_way.append(self._flights.submit(feed))
        while under_way:
            outputs = self._flights.collect(under_way.popleft())
        return outputs

    def close(self) -> None:
        """Nothing: the engine is not ours."""


def kept_busy(engine: Engine, feed: Feed) -> tuple[Engine, int]:
    """An engine of which one ``infer`` is so many runs of ``engine``, as many in flight as it takes; itself and one
    where it takes one at a time. How long a train may be, two runs on ``feed`` tell.
    """
    if not isinstance(engine, TakesSeveral) or engine.slots < 2:
        return engine, 1
    engine.infer(feed)  # the first of a shape is slower
    start = time.perf_counter()
    engine.infer(feed)
    fit = int(LONGEST_TRAIN_MS / 1e3 / max(time.perf_counter() - start, 1e-9))
    length = max(min(BATCHES_PER_SLOT * engine.slots, fit), 1)
    return (Train(engine, engine, length), length) if length > 1 else (engine, 1)


def device_latency(engine: Engine, feed: Feed, runs: int = DEVICE_RUNS) -> DeviceLatency | None:
    """Copy in, compute and copy out; None for an engine that does not tell them."""
    if not isinstance(engine, TakesSeveral):
        return None
    times, until = list[tuple[float, float, float]](), time.perf_counter() + DEVICE_SECONDS
    while len(times) < runs and (not times or time.perf_counter() < until):
        flight = engine.submit(feed)
        engine.collect(flight)
        times.append((flight.times.copy_in_ms, flight.times.compute_ms, flight.times.copy_out_ms))
    copy_in, compute, copy_out = (float(value) for value in np.median(np.asarray(times), axis=0))
    return DeviceLatency(copy_in, compute, copy_out, len(times))
