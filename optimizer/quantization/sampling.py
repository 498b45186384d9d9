"""Which calibration samples the corrections look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.engine import Feed

CORRECTION_MACS = 2e10
FEWEST, MOST = 4, 96
"""Samples that corrections measure on: those ``CORRECTION_MACS`` pay for, within these bounds."""


def affordable(costs: Mapping[str, int]) -> int:
    """How many samples corrections measure on: enough rows for small models, few runs of heavy ones."""
    total = sum(costs.values())
    return int(min(max(CORRECTION_MACS / max(total, 1), FEWEST), MOST))


def spread(feeds: Sequence[Feed], count: int) -> list[Feed]:
    """``count`` of the feeds, evenly spaced."""
    return [feeds[i * len(feeds) // count] for i in range(min(count, len(feeds)))]
