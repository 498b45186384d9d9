"""What a measurement and a verdict look like, and the statistics of a list of timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

OUTLIER_MADS = 8.0
"""Median absolute deviations above the median from which a timing is an outlier. Iglewicz and Hoaglin (1993) take 3.5 /
0.6745 = 5.2 for normal data; timings have longer tails. Chosen.
"""
STEADY_P90 = 1.5
"""Largest p90 of steady timings, in medians. Chosen."""


def utc_now() -> str:
    """The time, to a second, in ISO 8601: as reports give it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Verdict:
    """Whether something holds, and why not (or under which reservations) in sentences."""

    ok: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Latency:
    """The distribution of ``n`` timings, milliseconds.

    ``cv`` is the standard deviation over the mean; ``outliers`` counts timings more than eight median absolute
    deviations above the median (a robust gate: Iglewicz and Hoaglin, 1993); ``quantiles_ms`` are the 101 percentiles
    0 to 100, enough to draw the distribution.
    """

    p50: float
    p90: float
    p99: float
    mean: float
    n: int
    cv: float
    outliers: int
    quantiles_ms: tuple[float, ...] = ()

    @property
    def steady(self) -> bool:
        """Whether the bulk of the timings lies close together: p90 within 50 % of the median."""
        return self.p90 <= STEADY_P90 * self.p50


@dataclass(frozen=True)
class Throughput:
    """Samples per second at one batch size: ``n`` timed runs, ``cv`` of the time per run."""

    samples_per_s: float
    batch: int
    n: int
    cv: float


def summarize_latency(seconds: Sequence[float]) -> Latency:
    """The distribution of timings given in seconds; at least one."""
    times = np.asarray(seconds, np.float64) * 1e3
    quantiles = np.percentile(times, np.arange(101))
    median = quantiles[50]
    spread = float(np.median(np.abs(times - median)))
    outliers = int(np.count_nonzero(times > median + OUTLIER_MADS * max(spread, 1e-3 * median)))
    mean = float(times.mean())
    return Latency(
        p50=float(median),
        p90=float(quantiles[90]),
        p99=float(quantiles[99]),
        mean=mean,
        n=len(times),
        cv=float(times.std() / mean) if mean > 0 else 0.0,
        outliers=outliers,
        quantiles_ms=tuple(float(q) for q in np.round(quantiles, 6)),
    )
