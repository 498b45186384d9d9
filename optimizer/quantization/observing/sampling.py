"""Which calibration samples the corrections look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from engines.engine import Feed

CORRECTION_MACS, FEWEST, MOST = 2e10, 4, 96
"""Samples that corrections measure on: those ``CORRECTION_MACS`` pay for, within these bounds. Chosen."""
JUDGING_MACS, FEWEST_JUDGED, JUDGED_SAMPLES = 4e10, 16, 64
"""Samples on which range methods are judged, unseen by corrections: those ``JUDGING_MACS`` pay for, within these
bounds. A clipped tail shows only in many. Chosen."""
FEW, HELD = 32, 4
"""Of fewer samples than ``FEW`` weights are not rounded by least squares against quantized inputs: 15 of
MobileNetV2's 20 images, drawn four times, two tables of both forms: the outputs for the other 5 and crops of them
gained -1.1 to 0.8 dB by it, -0.2 on average, and a quarter kept back for a trial told the good from the bad by chance.
Where weights alone are rounded, and there are no more samples than that, one of ``HELD`` is kept back; of 64 samples 16
told less than all did: mtcnn_onet lost 0.7 dB."""


@dataclass(frozen=True)
class Samples:
    """``feeds`` are what corrections measure on, ``judged`` what ranges are judged on: other samples, if there are any.

    Where weights alone are rounded, by least squares, they are made from ``fit`` and judged on ``unseen``, which of few
    samples have nothing in common (unless there is only one). ``few``: these are all samples there are, too few to have
    met the ends of what is to come.
    """

    feeds: Sequence[Feed]
    judged: Sequence[Feed]
    fit: Sequence[Feed]
    unseen: Sequence[Feed]

    few: bool = False

    @property
    def every(self) -> Sequence[Feed]:
        return self.feeds if self.judged is self.feeds else [*self.feeds, *self.judged]


def divided(samples: Iterable[Feed], costs: Mapping[str, int]) -> Samples:
    """The first samples for corrections, and of those that follow up to four times as many to judge on; as many as
    ``costs``, MACs per sample by node, allow.
    """
    stream = iter(samples)
    feeds = list(islice(stream, _within(CORRECTION_MACS, costs, FEWEST, MOST)))
    judged_most = _within(JUDGING_MACS, costs, FEWEST_JUDGED, JUDGED_SAMPLES)
    if judged := list(islice(stream, min(4 * len(feeds), judged_most))):
        few = len(feeds) + len(judged) < FEW and next(stream, None) is None
        return Samples(feeds, judged, fit=feeds, unseen=judged, few=few)
    if len(feeds) >= FEW:
        return Samples(feeds, feeds, fit=feeds, unseen=feeds)
    unseen = range(min(HELD, len(feeds)) - 1, len(feeds), HELD)
    fit = [feed for index, feed in enumerate(feeds) if index not in unseen]
    return Samples(feeds, feeds, fit=fit or feeds, unseen=[feeds[index] for index in unseen], few=True)


def _within(macs: float, costs: Mapping[str, int], fewest: int, most: int) -> int:
    """Samples that ``macs`` pay for: enough rows for small models, few runs of heavy ones."""
    return int(min(max(macs / max(sum(costs.values()), 1), fewest), most))


def spread(feeds: Sequence[Feed], count: int) -> list[Feed]:
    """``count`` of the feeds, evenly spaced."""
    return [feeds[i * len(feeds) // count] for i in range(min(count, len(feeds)))]
