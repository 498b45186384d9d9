"""Engines that take a batch while others are under way, kept busy: what a GPU does when its copies are hidden."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from engines.engine import Array, Engine, EngineBase, Feed

BATCHES_PER_SLOT = 4
"""Batches of a train for each slot of the engine: filling and draining are at most a fourth of it."""
DEVICE_RUNS = 100
"""Runs that device times are the median of, one batch in flight; chosen."""


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

    def __init__(self, engine: Engine, flights: TakesSeveral) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._flights = flights
        self.length = BATCHES_PER_SLOT * flights.slots if flights.slots > 1 else 1

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


def kept_busy(engine: Engine) -> tuple[Engine, int]:
    """An engine of which one ``infer`` is so many runs of ``engine``, as many as it takes in flight; itself and one
    where it takes one at a time.
    """
    if not isinstance(engine, TakesSeveral):
        return engine, 1
    train = Train(engine, engine)
    return train, train.length


def device_latency(engine: Engine, feed: Feed, runs: int = DEVICE_RUNS) -> DeviceLatency | None:
    """Copy in, compute and copy out; None for an engine that does not tell them."""
    if not isinstance(engine, TakesSeveral):
        return None
    times = []
    for _ in range(runs):
        flight = engine.submit(feed)
        engine.collect(flight)
        times.append((flight.times.copy_in_ms, flight.times.compute_ms, flight.times.copy_out_ms))
    copy_in, compute, copy_out = (float(value) for value in np.median(np.asarray(times), axis=0))
    return DeviceLatency(copy_in, compute, copy_out, len(times))
