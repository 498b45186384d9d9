"""Histograms that merge exactly: bins of power-of-two width on a grid anchored at zero.

Bin ``i`` holds the values with ``floor(x / 2**exponent) == i``. Widening by one power of two joins bins ``2i`` and
``2i + 1`` and nothing else, so the histogram of a stream depends neither on its order nor on how it was cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BITS_PER_SIDE = 12  # 2048 to 4096 bins between zero and the largest magnitude
_SMALLEST_EXPONENT = -100  # finer bins would overflow float32 arithmetic; nothing quantized lives there


def exponent_for(absmax: float) -> int:
    """The bin-width exponent under which magnitudes up to ``absmax`` fill at most ``2**BITS_PER_SIDE`` bins a side."""
    if absmax == 0:
        return _SMALLEST_EXPONENT
    return max(int(np.frexp(absmax)[1]) - BITS_PER_SIDE, _SMALLEST_EXPONENT)


@dataclass(frozen=True)
class Histogram:
    """``counts[k]`` values lie in ``[(first + k) * width, (first + k + 1) * width)``; exact zeros are counted apart,
    since they quantize without error and would hide the shape of a rectified activation.
    """

    exponent: int
    first: int
    counts: Counts
    zeros: int

    @property
    def width(self) -> float:
        return float(2.0**self.exponent)

    @property
    def total(self) -> int:
        return int(self.counts.sum()) + self.zeros

    def edges(self) -> Floats:
        """Bin edges, float64, one more than there are bins."""
        return np.ldexp(np.arange(self.first, self.first + len(self.counts) + 1, dtype=np.float64), self.exponent)

    def magnitudes(self) -> Counts:
        """Counts by ``|x|``: entry ``k`` holds ``k * width <= |x| <= (k + 1) * width``, exact zeros left out."""
        last = self.first + len(self.counts)
        folded = np.zeros(max(last, -self.first, 0), np.int64)
        split = min(max(-self.first, 0), len(self.counts))
        positive, negative = self.counts[split:], self.counts[:split][::-1]
        start, stop = max(self.first, 0), max(-last, 0)
        folded[start : start + len(positive)] += positive
        folded[stop : stop + len(negative)] += negative
        return folded

    def magnitude_edges(self) -> Floats:
        """Edges of the bins of ``magnitudes``, from zero."""
        return np.ldexp(
            np.arange(max(self.first + len(self.counts), -self.first, 0) + 1, dtype=np.float64), self.exponent
        )

    def coarsened(self, exponent: int) -> Histogram:
        """The same values in bins of ``2**exponent``, which must not be finer."""
        if exponent == self.exponent or not len(self.counts):
            return Histogram(exponent, self.first, self.counts, self.zeros)
        # Indices fit in BITS_PER_SIDE + 1 bits: any larger shift leaves bins -1 and 0 just the same.
        shift = min(exponent - self.exponent, BITS_PER_SIDE + 2)
        first = self.first >> shift
        lead = self.first - (first << shift)
        trail = -(lead + len(self.counts)) % (1 << shift)
        counts = np.pad(self.counts, (lead, trail)).reshape(-1, 1 << shift).sum(axis=1)
        return Histogram(exponent, first, counts, self.zeros)

    def merged(self, other: Histogram) -> Histogram:
        """The histogram of both streams together; commutative and associative, exactly."""
        exponent = max(self.exponent, other.exponent)
        a, b = self.coarsened(exponent), other.coarsened(exponent)
        if not len(a.counts) or not len(b.counts):
            some = a if len(a.counts) else b
            return Histogram(exponent, some.first, some.counts, a.zeros + b.zeros)
        first = min(a.first, b.first)
        counts = np.zeros(max(a.first + len(a.counts), b.first + len(b.counts)) - first, np.int64)
        for part in (a, b):
            counts[part.first - first : part.first - first + len(part.counts)] += part.counts
        return Histogram(exponent, first, counts, a.zeros + b.zeros)


def histogram_of(values: npt.NDArray[np.float32], low: float, high: float) -> Histogram:
    """Histogram of finite one-dimensional ``values`` out of a tensor whose values run from ``low`` to ``high``."""
    exponent = exponent_for(max(abs(low), abs(high)))
    # A power of two scales exactly; below one, float32 could underflow and put a tiny negative value at bin 0.
    scale = 2.0**-exponent
    scaled = values * (np.float32(scale) if scale >= 1 else np.float64(scale))
    zeros = scaled.size - int(np.count_nonzero(scaled))
    if zeros == scaled.size:
        return Histogram(exponent, 0, np.zeros(0, np.int64), zeros)
    first = math.floor(low * scale)
    bins = np.subtract(np.floor(scaled, out=scaled), first, out=scaled).astype(np.intp)
    counts = np.bincount(bins).astype(np.int64, copy=False)
    if zeros:
        counts[-first] -= zeros
    return Histogram(exponent, first, counts, zeros)
