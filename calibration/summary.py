"""One sample's activation to its statistics, in numpy. The runtime hands its own buffers over, so nothing is copied."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibration.histogram import histogram_of
from calibration.statistics import NOTHING_SEEN, ChannelStatistics, JoinedNeeds, TensorStatistics
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


def summarize(values: Array, needs: JoinedNeeds) -> TensorStatistics:
    """Statistics of one activation of any shape and float type. Raises ``NonFinite``."""
    if not values.size:
        return NOTHING_SEEN
    values = values if values.dtype == np.float32 else values.astype(np.float32)
    channels = {axis: _per_channel(values, axis) for axis in needs.channel_axes}
    if channels:
        first = next(iter(channels.values()))
        low, high = float(first.minimum.min()), float(first.maximum.max())
    else:
        low, high = float(values.min()), float(values.max())
    check_finite(needs.tensor, low, high)
    histogram = None
    if needs.histogram:
        flat = values.reshape(-1)
        histogram = histogram_of(flat[:: sampling_step(flat.size)], low, high)
    return TensorStatistics(values.size, low, high, histogram, channels)


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
