"""The forms one engine could ship in, timed against each other in one run: a sample at a time, and in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.batching import repeat_to_batch, sample_count
from benchmarks.in_flight import kept_busy
from benchmarks.measurement import Latency, Throughput
from benchmarks.timing.latency import LATENCY_RUNS, measure_latency
from benchmarks.timing.steady import Steadiness, measure_steady
from engines.engine import Engine, Feed, TensorSpec
from engines.feeds.batching import batched_names
from engines.profile import ShapeProfile

LONGEST_BATCH_MS = 250.0
"""A batch that takes longer is not tried: slow models gain nothing from one and would measure for minutes. Chosen."""
_ROUGHLY_S = 0.0
"""Seconds of timing that tell how long a sample takes, to within what decides about a batch: one burst, three runs at
least. Chosen."""
BATCH_RUNS = 5
"""Batches that are timed at least; chosen: one takes up to a quarter of a second."""


@dataclass(frozen=True)
class TimedForms:
    """Every form, by name, timed on one sample and on a batch of ``batch`` samples, ``many``."""

    batch: int
    many: Feed
    latency: dict[str, Latency]
    throughput: dict[str, Throughput]
    steadiness: Steadiness | None


def untimed(feed: Feed) -> TimedForms:
    """Nothing was timed; ``feed`` is one sample."""
    return TimedForms(1, feed, {}, {}, None)


def time_forms(
    engines: Mapping[str, Engine], feed: Feed, specs: Sequence[TensorSpec], profile: ShapeProfile, *, seconds: float
) -> TimedForms:
    """Time every engine for ``seconds`` at most on ``feed``, one sample, and on the batch that ``profile`` is
    tuned for, as many in flight as it takes; in turns, so that a slow moment falls on all. The first is what the others
    are compared with. Where the batch is the sample and one is in flight, both are one measurement.
    """
    many = repeat_to_batch(specs, feed, _batch(profile, specs, next(iter(engines.values())), feed)) or feed
    batch, busy = sample_count(specs, many), {name: kept_busy(engine, many) for name, engine in engines.items()}
    loaded = {name: engine for name, (engine, _) in busy.items()}
    same = batch == sample_count(specs, feed) and loaded == dict(engines)
    latency = {} if same else measure_latency(engines, feed, seconds=seconds, until_known=True)
    runs = LATENCY_RUNS if same else BATCH_RUNS
    steady = measure_steady(loaded, dict.fromkeys(engines, many), seconds=seconds, min_runs=runs, until_known=True)
    throughput = {name: _rate(found, batch, busy[name][1]) for name, found in steady.latency.items()}
    return TimedForms(batch, many, latency or steady.latency, throughput, steady.steadiness)


def _batch(profile: ShapeProfile, specs: Sequence[TensorSpec], baseline: Engine, feed: Feed) -> int:
    """The profile's usual batch, or one for a model so slow that a batch would take too long."""
    usual = max((profile.inputs[name].opt[0] for name in batched_names(specs) if name in profile.inputs), default=1)
    if usual == 1:
        return 1
    return usual if usual * measure_latency({"": baseline}, feed, seconds=_ROUGHLY_S)[""].p50 <= LONGEST_BATCH_MS else 1


def _rate(timed: Latency, batch: int, batches: int) -> Throughput:
    return Throughput(samples_per_s=1e3 * batch * batches / timed.p50, batch=batch, n=timed.n, cv=timed.cv)
