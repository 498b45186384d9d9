"""Signals with the statistics of natural ones: overlapping patches of one colour, over a background with 1/f texture.

*Dead leaves* (Lee, Mumford and Huang 2001) have the edges, the flat regions and the heavy-tailed gradients of
photographs at every scale, which white noise has not: after the first layers of a network noise averages out, and every
activation is measured far too small. Any number of spatial axes: leaves are ellipsoids, or intervals of a waveform.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FEWEST_LEAVES, MOST_LEAVES = 4, 64
"""Shapes in a scene at least and at most, drawn evenly on a logarithmic scale; chosen."""
SMALLEST, LARGEST = 0.05, 0.5
"""Radii of leaves as shares of the axis; their density falls with the cube of the radius. Chosen."""
TEXTURE = 0.06
"""Standard deviation of the texture, in units of the range from black to white. Chosen."""
MEAN, DEVIATION = 0.449, 0.226
"""What preprocessing subtracts from values between black and white and divides by (ImageNet's, over three channels)."""


def scene(rng: np.random.Generator, channels: int, sizes: Sequence[int]) -> Floats:
    """One signal [channels, *sizes], normalized as photographs are: zero mean, deviation 1.2, within [-1.99, 2.44]."""
    texture = TEXTURE * _textured(rng, channels, sizes)
    image = np.broadcast_to(_column(_colour(rng, channels), sizes), texture.shape).copy()
    axes = [np.linspace(0, 1, size, dtype=np.float32) for size in sizes]
    for _ in range(round(FEWEST_LEAVES * (MOST_LEAVES / FEWEST_LEAVES) ** rng.uniform())):
        window, inside = _leaf(rng, axes)
        region = image[(slice(None), *window)]
        image[(slice(None), *window)] = np.where(inside, _column(_colour(rng, channels), sizes), region)
    image = np.clip(image + texture, 0, 1)
    return np.asarray((image - MEAN) / DEVIATION, np.float32)


def _column(colour: Floats, sizes: Sequence[int]) -> Floats:
    return colour.reshape(-1, *[1] * len(sizes))


def _colour(rng: np.random.Generator, channels: int) -> Floats:
    """Between black and white; mostly a brightness that all channels share, as in photographs."""
    shared, own = rng.uniform(0, 1), rng.uniform(0, 1, channels)
    return np.asarray(0.75 * shared + 0.25 * own, np.float32)


def _leaf(rng: np.random.Generator, axes: Sequence[Floats]) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """A box of the grid and which of its points an ellipsoid covers."""
    u = rng.uniform(LARGEST**-2, SMALLEST**-2)
    radii = u**-0.5 * rng.uniform(0.5, 1.5, len(axes))
    window, distance = [], np.zeros((1,) * len(axes), np.float32)
    round_ = rng.random() < 0.5
    for position, (axis, radius) in enumerate(zip(axes, radii, strict=True)):
        center = rng.uniform(0, 1)
        start, stop = np.searchsorted(axis, [center - radius, center + radius])
        stop = max(int(stop), int(start) + 1)
        window.append(slice(int(start), stop))
        offset = np.square((axis[start:stop] - center) / radius) if round_ else np.zeros(len(axis[start:stop]))
        distance = distance + offset.reshape([-1 if i == position else 1 for i in range(len(axes))])
    return tuple(window), distance <= 1


def _textured(rng: np.random.Generator, channels: int, sizes: Sequence[int]) -> Floats:
    """Gaussian noise with a 1/f amplitude spectrum, unit variance per channel."""
    frequencies = np.meshgrid(*[np.fft.fftfreq(size) for size in sizes], indexing="ij", sparse=True)
    radius = np.sqrt(sum(np.square(f) for f in frequencies))
    radius.flat[0] = np.inf
    axes = tuple(range(1, len(sizes) + 1))
    spectrum = np.fft.fftn(rng.standard_normal((channels, *sizes)), axes=axes) / radius
    noise = np.fft.ifftn(spectrum, axes=axes).real
    return np.asarray(noise / (noise.std(axis=axes, keepdims=True) + 1e-12), np.float32)
