"""One sample's activation to what is kept of it, in numpy, and a few samples to statistics.

The runtime hands its own buffers over; only the values that enter the histogram are copied. They are counted for
several samples at once, which is far cheaper than sample by sample and, histograms being exact, comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibration.histogram import histogram_of
from calibration.statistics import ChannelStatistics, JoinedNeeds, TensorStatistics, merge_channels
from engines.engine import Array

Float32 = npt.NDArray[np.float32]

# Histogram every value of a tensor below 2**13 values, then every 11th, and every 31st from 2**16 values on. Prime
# steps walk through all rows, columns and channels of the usual (even) sizes instead of meeting the same ones.
STEP_SHIFT = 13
STEPS = (1, *[11] * 7, 31)


def sampling_step(size: int) -> int:
    """Distance between the flattened values of one sample that enter the histogram; depends on the size alone."""
    return STEPS[min(size >> STEP_SHIFT, len(STEPS) - 1)]


class NonFinite(Exception):
    """An activation holds NaN or infinity; the caller knows which sample it was."""

    def __init__(self, tensor: str, found: str) -> None:
        super().__init__(f"{tensor} holds {found}")
        self.tensor, self.found = tensor, found


@dataclass(frozen=True)
class Observation:
    """One activation of one sample: its extremes and channels, and a copy of the values for the histogram."""

    count: int
    low: float
    high: float
    sampled: Float32 | None
    channels: Mapping[int, ChannelStatistics]


def summarize(observations: Sequence[Observation | None]) -> TensorStatistics | None:
    """Statistics of one tensor over a few samples; None where no sample held a value."""
    seen = [observation for observation in observations if observation is not None]
    if not seen:
        return None
    low, high = min(part.low for part in seen), max(part.high for part in seen)
    sampled = [part.sampled for part in seen if part.sampled is not None]
    return TensorStatistics(
        sum(part.count for part in seen),
        low,
        high,
        histogram_of(np.concatenate(sampled), low, high) if sampled else None,
        merge_channels([part.channels for part in seen]),
    )


def observe(values: Array, needs: JoinedNeeds) -> Observation | None:
    """What is kept of one activation of any shape and float type; None of an empty one. Raises ``NonFinite``."""
    if not values.size:
        return None
    values = values if values.dtype == np.float32 else values.astype(np.float32)
    channels = {axis: _per_channel(values, axis) for axis in needs.channel_axes}
    if channels:
        first = next(iter(channels.values()))
        low, high = float(first.minimum.min()), float(first.maximum.max())
    else:
        low, high = float(values.min()), float(values.max())
    check_finite(needs.tensor, low, high)
    sampled = values.reshape(-1)[:: sampling_step(values.size)].copy() if needs.histogram else None
    return Observation(values.size, low, high, sampled, channels)


def check_finite(tensor: str, low: float, high: float) -> None:
    """numpy's min and max keep NaN, so the two extremes tell of every value."""
    if not np.isfinite(low + high):
        raise NonFinite(tensor, "NaN" if np.isnan(low) or np.isnan(high) else "infinity")


def _per_channel(values: Float32, axis: int) -> ChannelStatistics:
    axis = axis % values.ndim
    outer = int(np.prod(values.shape[:axis], dtype=np.int64))
    channels = values.shape[axis]
    inner = values.size // (outer * channels)
    # One sample at a time makes NCHW (1, C, HW) and token layouts (tokens, C, 1): plain 2-d reductions, the fast ones.
    if outer == 1:
        view, over = values.reshape(channels, inner), 1
    elif inner == 1:
        view, over = values.reshape(outer, channels), 0
    else:
        view, over = np.moveaxis(values.reshape(outer, channels, inner), 1, 0).reshape(channels, -1), 1
    return ChannelStatistics(
        view.min(axis=over).astype(np.float64),
        view.max(axis=over).astype(np.float64),
        view.sum(axis=over, dtype=np.float64),
        outer * inner,
    )
