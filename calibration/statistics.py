"""What a streaming pass learns about each activation, and how a pass of the optimizer asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt

from calibration.histogram import Histogram

Channels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StatisticNeeds:
    """What is wanted of one activation. Needs for the same tensor are joined, so all passes share one run.

    ``channel_axis`` asks for per-channel extremes and means along that axis (negative counts from the end).
    """

    tensor: str
    histogram: bool = True
    channel_axis: int | None = None


@dataclass(frozen=True)
class ChannelStatistics:
    """Per-channel float64 vectors of length C; ``total`` sums ``count`` values per channel."""

    minimum: Channels
    maximum: Channels
    total: Channels
    count: int

    @property
    def absmax(self) -> Channels:
        return np.maximum(np.abs(self.minimum), np.abs(self.maximum))

    @property
    def mean(self) -> Channels:
        return self.total / max(self.count, 1)

    def merged(self, other: ChannelStatistics) -> ChannelStatistics:
        return ChannelStatistics(
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            self.total + other.total,
            self.count + other.count,
        )


@dataclass(frozen=True)
class TensorStatistics:
    """``minimum`` and ``maximum`` are over every value; ``histogram`` over all values of small tensors and an evenly
    spaced share of large ones; ``channels`` by the axis that was asked for. ``count`` is the number of values seen.
    """

    count: int
    minimum: float
    maximum: float
    histogram: Histogram | None = None
    channels: Mapping[int, ChannelStatistics] = field(default_factory=dict)

    @cached_property
    def absmax(self) -> float:
        return max(abs(self.minimum), abs(self.maximum))

    def merged(self, other: TensorStatistics) -> TensorStatistics:
        """Both streams together. All but the channel totals (float64 sums) are independent of order, exactly."""
        if not self.count or not other.count:
            return self if self.count else other
        histogram = self.histogram
        if histogram is not None and other.histogram is not None:
            histogram = histogram.merged(other.histogram)
        return TensorStatistics(
            self.count + other.count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            histogram,
            merge_channels([self.channels, other.channels]),
        )


def merge_channels(parts: Sequence[Mapping[int, ChannelStatistics]]) -> dict[int, ChannelStatistics]:
    """Channel statistics of several streams, added in the order given."""
    return {axis: reduce(ChannelStatistics.merged, (part[axis] for part in parts)) for axis in parts[0]}


NOTHING_SEEN = TensorStatistics(0, 0.0, 0.0)


@dataclass(frozen=True)
class Statistics:
    """Statistics of every observed tensor by ONNX name, over ``samples`` samples."""

    tensors: Mapping[str, TensorStatistics]
    samples: int

    def __getitem__(self, tensor: str) -> TensorStatistics:
        return self.tensors[tensor]

    def merged(self, other: Statistics) -> Statistics:
        names = list(dict.fromkeys([*self.tensors, *other.tensors]))
        return Statistics(
            {n: self.tensors.get(n, NOTHING_SEEN).merged(other.tensors.get(n, NOTHING_SEEN)) for n in names},
            self.samples + other.samples,
        )


@dataclass(frozen=True)
class JoinedNeeds:
    """Everything asked of one tensor."""

    tensor: str
    histogram: bool
    channel_axes: tuple[int, ...]


def join_needs(needs: Iterable[StatisticNeeds | str]) -> list[JoinedNeeds]:
    """One entry per tensor in first-seen order; a bare name asks for extremes and a histogram."""
    joined: dict[str, JoinedNeeds] = {}
    for need in needs:
        need = StatisticNeeds(need) if isinstance(need, str) else need
        known = joined.get(need.tensor, JoinedNeeds(need.tensor, False, ()))
        axes = known.channel_axes if need.channel_axis is None else (*known.channel_axes, need.channel_axis)
        joined[need.tensor] = JoinedNeeds(need.tensor, known.histogram or need.histogram, tuple(dict.fromkeys(axes)))
    return list(joined.values())
