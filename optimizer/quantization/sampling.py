"""Which calibration samples the corrections look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from engines.engine import Feed

CORRECTION_MACS = 2e10
FEWEST, MOST = 4, 96
"""Samples that corrections measure on: those ``CORRECTION_MACS`` pay for, within these bounds."""
JUDGED_SAMPLES = 64
"""Most samples on which range methods are judged, unseen by corrections: a clipped tail shows only in many."""
FEW, HELD = 32, 4
"""Where there are no more samples than corrections measure on, and fewer than ``FEW``, one of ``HELD`` is kept from a
correction on trial. Of 64 samples 16 told less than all did: mtcnn_onet lost 0.7 dB."""


@dataclass(frozen=True)
class Samples:
    """``feeds`` are what corrections measure on, ``judged`` what ranges are judged on: other samples, if there are any.

    Rounding by least squares has a degree of freedom per weight: tried, it is made from ``fit`` and judged on
    ``unseen``, which of few samples have nothing in common (unless there is only one).
    """

    feeds: Sequence[Feed]
    judged: Sequence[Feed]
    fit: Sequence[Feed]
    unseen: Sequence[Feed]


def divided(samples: Iterable[Feed], most: int) -> Samples:
    """The first ``most`` samples for corrections, and of those that follow up to four times as many to judge on."""
    stream = iter(samples)
    feeds = list(islice(stream, most))
    if judged := list(islice(stream, min(4 * len(feeds), JUDGED_SAMPLES))):
        return Samples(feeds, judged, fit=feeds, unseen=judged)
    if len(feeds) >= FEW:
        return Samples(feeds, feeds, fit=feeds, unseen=feeds)
    unseen = range(min(HELD, len(feeds)) - 1, len(feeds), HELD)
    fit = [feed for index, feed in enumerate(feeds) if index not in unseen]
    return Samples(feeds, feeds, fit=fit or feeds, unseen=[feeds[index] for index in unseen])


def affordable(costs: Mapping[str, int]) -> int:
    """How many samples corrections measure on: enough rows for small models, few runs of heavy ones."""
    total = sum(costs.values())
    return int(min(max(CORRECTION_MACS / max(total, 1), FEWEST), MOST))


def spread(feeds: Sequence[Feed], count: int) -> list[Feed]:
    """``count`` of the feeds, evenly spaced."""
    return [feeds[i * len(feeds) // count] for i in range(min(count, len(feeds)))]
