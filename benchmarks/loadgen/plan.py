"""The second phase's settings, from the probe: enough queries to be valid, bounded in time, each choice said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from benchmarks.loadgen.probe import Probe
from benchmarks.loadgen.settings import MIN_QUERIES, LoadgenSettings, Mode, Scenario, per_second

OFFLINE_HEADROOM = 1.25
"""How many times the probed rate LoadGen is told for Offline: its one query must last the duration although probes run
on a busy machine read low. Chosen.
"""
SERVER_SHARE = 0.6
"""Share of the probed capacity that Server is loaded with where no rate is asked for: queues stay short enough for p99
on a machine that others use, too. Chosen.
"""
OFFLINE_OVERHEAD_S, SERVER_OVERHEAD_S = 0.7e-6, 20e-6
"""Seconds that the harness itself costs per sample (measured: ``studies.loadgen.ceiling``, whose engine does nothing):
id lists and responses in Offline; queue, thread hand-over and one LoadGen call per query in Server. It matters for
models of a few microseconds."""


@dataclass(frozen=True)
class RunPlan:
    """Numbers LoadGen is started with. Seconds unless named otherwise; ``deadline_s`` bounds the whole run, drain
    included (infinite for official settings). ``qps`` is what LoadGen is told, ``capacity`` what the probe saw.
    ``performance_samples`` and ``latency_bound_s`` are a workload's, which official settings take over.
    """

    batch: int
    duration_s: float
    limit_s: float
    deadline_s: float
    expected_latency_s: float
    qps: float
    capacity: float
    min_queries: int
    notes: list[str] = field(default_factory=list)
    performance_samples: int | None = None
    latency_bound_s: float | None = None


def make_plan(settings: LoadgenSettings, probe: Probe, offline_qps: float | None = None) -> RunPlan:
    """``offline_qps`` is the rate an earlier attempt measured, which then replaces the probe's."""
    makers = {
        Scenario.SINGLE_STREAM: _stream,
        Scenario.MULTI_STREAM: _stream,
        Scenario.SERVER: _server,
        Scenario.OFFLINE: _offline,
    }
    return makers[settings.scenario](settings, probe, offline_qps)


def _limits(settings: LoadgenSettings, needed: float) -> tuple[float, float, list[str]]:
    """(duration, limit, notes) where the minimum number of queries takes ``needed`` seconds."""
    limit = max(settings.limit_s, settings.duration_s)
    if settings.official:  # LoadGen's own configuration decides, and nothing is cut short
        return settings.duration_s, math.inf, []
    if needed <= settings.duration_s:
        return settings.duration_s, limit, []
    least = MIN_QUERIES[settings.scenario]
    if needed <= limit:
        return settings.duration_s, limit, [f"extended to about {needed:.0f} s: {least} queries are the minimum"]
    # It cannot be valid, so the time is not spent; the short run still shows the latencies.
    note = f"{least} queries, the minimum, need about {needed:.0f} s and the limit is {limit:g} s: shortened"
    return settings.duration_s, settings.duration_s, [note]


def _stream(settings: LoadgenSettings, probe: Probe, _: float | None) -> RunPlan:
    single = settings.scenario is Scenario.SINGLE_STREAM
    speed = probe.single if single else probe.best()
    batch = 1 if single else min(settings.batch or speed.batch, settings.samples_per_query)
    calls = 1 if single else math.ceil(settings.samples_per_query / batch)
    by_batch = {s.batch: s for s in probe.speeds}
    per_query = calls * by_batch.get(batch, speed).mean
    duration, limit, notes = _limits(settings, MIN_QUERIES[settings.scenario] * per_query)
    return RunPlan(
        batch=batch,
        duration_s=duration,
        limit_s=limit,
        deadline_s=math.inf,  # LoadGen itself stops issuing at the limit, and only one query is ever under way
        # LoadGen makes duration / expected latency queries beforehand and must not run out: half the fastest seen.
        expected_latency_s=0.5 * calls * by_batch.get(batch, speed).fastest,
        qps=1.0 / per_query,
        capacity=1.0 / per_query,
        min_queries=MIN_QUERIES[settings.scenario],
        notes=[*probe.notes, *notes],
    )


def _server(settings: LoadgenSettings, probe: Probe, _: float | None) -> RunPlan:
    longest = settings.latency_bound_ms / 1e3 / 4
    speed = probe.best(longest)
    capacity = 1.0 / (1.0 / (speed.samples_per_s * settings.workers) + SERVER_OVERHEAD_S)
    notes = list(probe.notes)
    qps = settings.target_qps
    if qps is None:
        qps = SERVER_SHARE * capacity
        notes.append(f"target {per_second(qps)} qps: 60 % of the {per_second(capacity)} samples/s probed")
    duration, limit, more = _limits(settings, 1.05 * MIN_QUERIES[Scenario.SERVER] / qps)
    return RunPlan(
        batch=settings.batch or settings.max_batch or probe.roomiest(longest).batch,
        duration_s=duration,
        limit_s=limit,
        deadline_s=_deadline(settings, max(duration, min(limit, 1.05 * MIN_QUERIES[Scenario.SERVER] / qps))),
        expected_latency_s=probe.single.mean,
        qps=qps,
        capacity=capacity,
        min_queries=MIN_QUERIES[Scenario.SERVER],
        notes=[*notes, *more],
    )


def _offline(settings: LoadgenSettings, probe: Probe, offline_qps: float | None) -> RunPlan:
    speed = probe.speeds[-1] if settings.batch else probe.best()
    qps = offline_qps or 1.0 / (1.0 / (speed.samples_per_s * settings.workers) + OFFLINE_OVERHEAD_S)
    return RunPlan(
        batch=speed.batch,
        duration_s=settings.duration_s,
        limit_s=max(settings.limit_s, settings.duration_s),
        deadline_s=_deadline(settings, max(settings.limit_s, 2 * settings.duration_s)),
        expected_latency_s=probe.single.mean,
        qps=OFFLINE_HEADROOM * qps,
        capacity=qps,
        min_queries=1,
        notes=[*probe.notes, f"batches of {speed.batch}"],
    )


def _deadline(settings: LoadgenSettings, limit: float) -> float:
    """When samples still waiting are given up. Accuracy runs must see every sample and official ones have no limit."""
    if settings.official or settings.mode is Mode.ACCURACY:
        return math.inf
    return 1.5 * limit + 5.0
