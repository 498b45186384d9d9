"""Inferences per joule of an engine kept busy."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.batching import sample_count
from benchmarks.energy.counters import EnergyCounter
from benchmarks.in_flight import kept_busy
from engines.engine import Engine, Feed


@dataclass(frozen=True)
class Energy:
    """``inferences_per_joule`` while the engine was kept busy for ``seconds``; None where ``how`` says why not.

    One inference is one sample. ``watts`` is the mean power over that time.
    """

    inferences_per_joule: float | None
    watts: float | None
    seconds: float
    how: str


def measure_energy(engine: Engine, feed: Feed, counter: EnergyCounter, *, seconds: float = 2.0) -> Energy:
    """Run ``feed`` again and again for ``seconds``, as many in flight as the engine takes, and divide the samples by
    the joules the counter saw.
    """
    before = counter.joules()
    if before is None:
        return Energy(None, None, 0.0, f"not measurable here: {counter.reason}")
    (busy, length), runs, start = kept_busy(engine, feed), 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        busy.infer(feed)
        runs += length
    used = (counter.joules() or before) - before
    if used <= 0:
        return Energy(None, None, elapsed, f"not measurable here: the counter did not move in {elapsed:.1f} s")
    samples = runs * sample_count(engine.inputs, feed)
    return Energy(samples / used, used / elapsed, elapsed, f"{counter.source}; {used / elapsed:.1f} W while busy")
