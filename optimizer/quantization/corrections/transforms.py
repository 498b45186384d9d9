"""Candidate shifts and scales of an activation's channels, made from what calibration showed of them.

Two families of scales. *SmoothQuant* (Xiao et al. 2022) spreads every channel's range between activation and weight by
a power ``α``. *Outlier Suppression+* (Wei et al. 2023) leaves channels alone but for the few wider than a threshold,
which are brought down to it: with one massive channel (attention sinks put them into every transformer) this takes the
outlier away and keeps the weights of all other channels as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphs.reading.number_types import Floats, NumberType
from optimizer.quantization.codes.affine import FRACTIONS, Affine
from optimizer.quantization.observing.capture import Channels

ALPHAS = (0.35, 0.5, 0.65, 0.8)
"""SmoothQuant's migration strengths (Xiao et al. 2023 search 0.3 to 0.9): the part of an outlier that weights take."""
THRESHOLDS = (0.5, 0.8, 0.9, 0.97, 0.99, 0.998)
"""Quantiles of the channels' ranges that wider channels are brought down to. Chosen."""
POWERS = (0.0, 0.5, 0.75, 1.0)
"""How much of the room below a Clip's bound is taken. Chosen."""
MARGIN = 1.1
"""Channels are brought this far under the bound: unseen data reach a little beyond what calibration saw. Chosen."""
_MOST = 64.0
"""Largest factor of a channel, and of one against another: float16 keeps its normal numbers within it. Chosen."""
_WIDEST = 2048.0
"""The same where ``_MOST`` cuts off what SmoothQuant asks for: channels up to 4 million apart come together. Chosen."""
WIDEST_OF_INPUT = 2.0**40
"""The same for a raw input: columns in seconds since 1970 stand beside fractions. Chosen."""
_WIDE_ALPHA = 0.5
"""The one strength that this is tried with, half to each side: a candidate more costs time. Chosen."""


@dataclass(frozen=True)
class Transform:
    """``x' = (x − shift)·scale`` per channel."""

    shift: Floats
    scale: Floats

    @property
    def anchor(self) -> np.float32:
        """The magnitude that zeros land on, where it is one for all channels."""
        landing = np.abs(self.shift * self.scale)
        return landing[0] if np.allclose(landing, landing[0], rtol=1e-5) else np.float32(0)

    def apply(self, rows: Floats) -> Floats:
        return (rows - self.shift) * self.scale

    def describe(self) -> str:
        parts = []
        if self.shift.any():
            spread = np.unique(self.shift)
            parts.append(f"shifted by {spread[0]:.3g}" if len(spread) == 1 else "shifted per channel")
        scaled = int((self.scale != 1).sum())
        if scaled:
            parts.append("scaled per channel" if scaled > len(self.scale) // 2 else f"{scaled} wide channels scaled")
        return ", ".join(parts)


def identity(channels: int) -> Transform:
    return Transform(np.zeros(channels, np.float32), np.ones(channels, np.float32))


@dataclass(frozen=True)
class Freedom:
    """What a site can express: shifts, scales. ``one_landing``: zeros of all channels must land on one number, since a
    scalar bound moves along; else each channel may have a shift of its own. ``ceiling`` is the upper bound of a Clip
    from zero behind which the activation comes: its channels can be scaled up to it, not down. ``widest`` is the
    largest factor of a channel.
    """

    shift: bool = False
    one_landing: bool = False
    scale: bool = False
    ceiling: float | None = None
    widest: float = _WIDEST


def candidates(seen: Channels, weights: Sequence[Floats], freedom: Freedom, numbers: NumberType) -> Iterator[Transform]:
    """Transforms worth judging, the identity among them; ``weights`` are the readers' as [channels, outputs],
    ``numbers`` what the activation's codes are.
    """
    if freedom.ceiling is not None:
        yield from _below_a_clip(seen, freedom.ceiling, freedom.shift, numbers)
    elif freedom.one_landing:
        unshifted = np.zeros(seen.rows.shape[1], np.float32)
        for scale in _scales(seen, unshifted, weights, freedom.widest) if freedom.scale else [np.ones_like(unshifted)]:
            yield from _to_one_landing(seen, scale, freedom.shift, numbers)
    else:
        for shift in _shifts(seen, freedom, numbers):
            for scale in _scales(seen, shift, weights, freedom.widest) if freedom.scale else [np.ones_like(shift)]:
                yield Transform(shift, scale)


def _to_one_landing(seen: Channels, scale: Floats, shift: bool, numbers: NumberType) -> Iterator[Transform]:
    """``scale`` alone and, with ``shift``, moved by one number after scaling: the middle of the scaled range."""
    yield Transform(np.zeros_like(scale), scale)
    if shift:
        middle = middle_of_best_range(seen.rows * scale, numbers)
        yield Transform((middle / scale).astype(np.float32), scale)


def _below_a_clip(seen: Channels, ceiling: float, shift: bool, numbers: NumberType) -> Iterator[Transform]:
    """Cross-layer equalization (Nagel et al. 2019) under ReLU6: channels that stay below the bound are scaled up to it.

    Where the bound then cuts is where calibration saw the channel end, as codes would cut it anyway. The shift is one
    number after scaling, so that both bounds of the Clip stay scalars.
    """
    room = np.clip(ceiling / np.maximum(MARGIN * seen.high, ceiling / _MOST), 1, _MOST)
    for power in POWERS:
        yield from _to_one_landing(seen, (room**power).astype(np.float32), shift, numbers)


def _shifts(seen: Channels, freedom: Freedom, numbers: NumberType) -> Iterator[Floats]:
    """None, one for the whole tensor to the middle of its best range, each channel to the middle of its own."""
    zero = np.zeros(seen.rows.shape[1], np.float32)
    yield zero
    if freedom.shift:
        yield zero + middle_of_best_range(seen.rows, numbers)
        yield ((seen.low + seen.high) / 2).astype(np.float32)


def _scales(seen: Channels, shift: Floats, weights: Sequence[Floats], widest: float) -> Iterator[Floats]:
    """None, SmoothQuant by ``ALPHAS``, Outlier Suppression+ by ``THRESHOLDS``."""
    activation = np.maximum(seen.high - shift, shift - seen.low).astype(np.float32)
    yield np.ones_like(activation)
    weight = np.max([np.abs(matrix).max(axis=1) for matrix in weights], axis=0)
    live = (activation > 0) & (weight > 0)
    if not live.any():
        return
    for alpha in ALPHAS:
        log = (1 - alpha) * np.log(np.where(live, weight, 1)) - alpha * np.log(np.where(live, activation, 1))
        wanted = np.exp(np.where(live, log - log[live].mean(), 0))
        yield np.clip(wanted, 1 / _MOST, _MOST).astype(np.float32)
        if alpha == _WIDE_ALPHA and max(wanted.max(), 1 / wanted.min()) > _MOST:
            yield np.clip(wanted, 1 / widest, widest).astype(np.float32)
    for threshold in np.quantile(activation[live], THRESHOLDS, method="lower"):
        yield np.maximum(threshold / np.maximum(activation, threshold), 1 / _MOST).astype(np.float32)


def middle_of_best_range(values: Floats, numbers: NumberType) -> np.float32:
    """Centre of the range with the least squared error on ``values`` where codes of ``numbers``, as far below zero as
    above, lie around that centre.
    """
    codes = numbers.up_to(numbers.highest)
    some = values.ravel()[:: max(values.size // 16384, 1)]
    low, high = float(some.min()), float(some.max())
    best, middle = np.inf, np.float32(0)
    for top in FRACTIONS:
        for bottom in FRACTIONS if low < -0.05 * high else (1.0,):
            start, end = low * bottom, high * top
            centre = (start + end) / 2
            around = some - np.float32(centre)
            rounded = Affine(max(end - start, 1e-12) / (2 * codes.highest), 0, codes)(around)
            error = float(np.square(rounded - around).sum())
            if error < best:
                best, middle = error, np.float32(centre)
    return middle
