"""What a search measured on its way: the latency-versus-load curve, and throughput by setting."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoadPoint:
    """Latencies (ms) at one offered rate (queries per second)."""

    qps: float
    p50: float | None
    p90: float | None
    p99: float | None
    valid: bool


@dataclass(frozen=True)
class SettingPoint:
    """Offline throughput (samples per second) of one setting; None where the run was invalid."""

    workers: int
    batch: int
    samples_per_s: float | None


@dataclass(frozen=True)
class ServedRate:
    """The highest Server rate (queries per second) that short runs with so many engine instances found valid; None
    where they bore no more than fewer instances.
    """

    workers: int
    qps: float | None


@dataclass(frozen=True)
class WaitedRate:
    """The same where an engine that is free waits ``wait_ms`` for more samples than it has; None where that bore no
    more than to wait less."""

    wait_ms: float
    qps: float | None


@dataclass(frozen=True)
class SearchSummary:
    """How a search came to its value. ``curve`` is Server's (ascending rates: chart data), ``settings`` Offline's (best
    first), ``servers`` Server's by engine instances, ``waits`` by how long a free one waits; ``offline_qps`` is the
    Offline throughput, with as many instances, that Server's rate is a share of.
    """

    offline_qps: float | None = None
    share_of_offline: float | None = None
    curve: list[LoadPoint] = field(default_factory=list)
    settings: list[SettingPoint] = field(default_factory=list)
    servers: list[ServedRate] = field(default_factory=list)
    waits: list[WaitedRate] = field(default_factory=list)
