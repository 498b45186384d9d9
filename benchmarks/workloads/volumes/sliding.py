"""Volumes larger than a network's input: overlapping windows, blended with a Gaussian, as one engine.

After MLPerf's 3D-UNet reference (mlcommons/inference, vision/medical_imaging/3d-unet-kits19): windows half over each
other, scores weighted by a Gaussian of an eighth of the window, summed, divided by the sum of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from benchmarks.workloads.graphs import LoopedEngine
from engines.engine import Array, Engine, Feed, TensorSpec
from engines.errors import EngineError
from graphs.errors import BadInput

VOLUME, LABELS = "volume", "labels"
DEFAULT_WINDOW = 128
"""Voxels per axis where the network takes any size (MLPerf's 3D-UNet reference)."""


class SlidingWindowEngine(LoopedEngine):
    """volume float32 [1, channels, depth, height, width] -> labels uint8 [1, depth, height, width]."""

    def __init__(self, engine: Engine) -> None:
        super().__init__({"network": engine})
        spec = engine.inputs[0]
        if len(engine.inputs) != 1 or len(spec.shape) != 5:
            raise BadInput("is not a network of volumes", where=spec.name, expected="[batch, channels, d, h, w]")
        self._spec = spec
        self.window = tuple(d if isinstance(d, int) else DEFAULT_WINDOW for d in spec.shape[2:])
        self.inputs = (TensorSpec(VOLUME, "float32", (1, spec.shape[1], "depth", "height", "width")),)
        self.outputs = (TensorSpec(LABELS, "uint8", (1, "depth", "height", "width")),)
        self._weights = gaussian(self.window)

    @staticmethod
    def open(source: str) -> SlidingWindowEngine:
        from engines.source import open_source

        return SlidingWindowEngine(open_source(source))

    def infer(self, feed: Feed) -> dict[str, Array]:
        volume = feed[VOLUME]
        total: Array | None = None
        weights = np.zeros(volume.shape[2:], np.float32)
        for place in window_places(volume.shape[2:], self.window):
            scores = self._scores(volume[(slice(None), slice(None), *place)])
            if total is None:
                total = np.zeros((scores.shape[0], *volume.shape[2:]), np.float32)
            total[(slice(None), *place)] += scores * self._weights
            weights[place] += self._weights
        assert total is not None
        return {LABELS: (total / weights).argmax(0).astype(np.uint8)[None]}

    def _scores(self, part: Array) -> Array:
        """float32 [classes, d, h, w] of one window."""
        part = np.ascontiguousarray(part.astype(self._spec.dtype, copy=False))
        scores = next(iter(self.parts["network"].infer({self._spec.name: part}).values()))
        if scores.ndim != 5 or scores.shape[2:] != part.shape[2:]:
            raise EngineError(f"returned {scores.shape} for a window of {part.shape}", where="network")
        if not np.isfinite(scores).all():  # the labels would hide it
            raise EngineError("returned NaN or infinite scores", where="network")
        return np.asarray(scores[0], np.float32)


def gaussian(window: Sequence[int]) -> Array:
    """float32 weights, 1 in the middle: the cube root of the product of three Gaussians of 1/8 the window's length."""
    axes = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (0.125 * n)) ** 2) for n in window]
    weights = np.cbrt(axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :])
    return np.asarray(weights / weights.max(), np.float32)


def window_places(shape: Sequence[int], window: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Windows every half of their length; the last one of an axis ends where the volume does."""
    starts = []
    for size, length in zip(shape, window, strict=True):
        if size < length:
            raise EngineError(f"a volume of {tuple(shape)} is smaller than the window {tuple(window)}", where=VOLUME)
        step = max(1, length // 2)
        starts.append(sorted({*range(0, size - length + 1, step), size - length}))
    for corner in product(*starts):
        yield tuple(slice(start, start + length) for start, length in zip(corner, window, strict=True))
