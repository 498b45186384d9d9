"""Rows of the matrix product behind a weighted op: what its weight is multiplied with, at sampled positions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array, Feed
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp, group


@dataclass(frozen=True)
class Geometry:
    """Window of a convolution: kernel, stride, dilation per spatial axis; pads before and after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    def outputs(self, lengths: Sequence[int]) -> list[int]:
        """Positions along each spatial axis of an input of these ``lengths``."""
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        padded = [size + before + after for size, (before, after) in zip(lengths, self.pads, strict=True)]
        return [(length - span) // s + 1 for length, span, s in zip(padded, spans, self.strides, strict=True)]


def geometry(op: WeightedOp) -> Geometry | None:
    """The window of a Conv; None for ``auto_pad`` SAME, whose pads depend on the input, and for pads that cut away."""
    attributes = op.node.attributes
    auto = attributes.get("auto_pad")
    if auto is not None and auto.as_string() not in ("NOTSET", "VALID"):
        return None
    kernel = tuple(op.tensor.shape.numpy())[2:]
    rank = len(kernel)

    def ints(name: str, default: int, count: int) -> tuple[int, ...]:
        found = attributes.get(name)
        return tuple(found.as_ints()) if found is not None else (default,) * count

    pads = ints("pads", 0, 2 * rank)
    if min(pads, default=0) < 0:
        return None
    return Geometry(
        kernel, ints("strides", 1, rank), ints("dilations", 1, rank), tuple(zip(pads[:rank], pads[rank:], strict=True))
    )


class RowSampler:
    """Draws rows of ops' input matrices at random positions of each of ``feeds``, the same ones for inputs that have as
    many. Where all feeds have the same shapes, positions and windows are worked out for all of them at once.
    """

    def __init__(self, feeds: Sequence[Feed], seed: int) -> None:
        shapes = {tuple(sorted((name, np.shape(array)) for name, array in feed.items())) for feed in feeds}
        self._seed, self._feeds = seed, len(feeds) if len(shapes) == 1 else 1
        self._usual: dict[str, tuple[int, ...]] = {}
        self._geometries: dict[str, Geometry] = {}
        self._drawn: dict[Hashable, NDArray[np.intp]] = {}
        self._taps: dict[Hashable, _Taps] = {}

    def rows(self, op: WeightedOp, data: Array, count: int, feed: int) -> Floats:
        """Up to ``count`` rows of the op's input matrix, of the input ``data`` in feed number ``feed``: [rows, groups,
        reduction].

        For MatMul and Gemm a row is a vector along the last axis; for Conv it is the patch under the kernel at a random
        output position (zero padding included), in the order of the flattened weight.
        """
        usual = self._usual.setdefault(str(op.node.name), data.shape) == data.shape  # values may decide shapes inside
        feeds = range(self._feeds) if usual and self._feeds > 1 else range(feed, feed + 1)
        if op.node.op_type in ("MatMul", "Gemm"):
            flat = data.reshape(-1, data.shape[-1])
            picked = self._positions(len(flat), count, feeds)[feed - feeds.start]
            return np.asarray(flat[picked], np.float32)[:, None, :]
        window = self._geometries.get(str(op.node.name)) or geometry(op)
        assert window is not None
        self._geometries[str(op.node.name)] = window
        taps = self._windows(window, data.shape, count, feeds)
        each = len(taps.entry) // len(feeds)
        start = each * (feed - feeds.start)
        patches = taps.of(np.asarray(data, np.float32), slice(start, start + each))
        return patches.reshape(len(patches), group(op.node), -1)

    def _positions(self, total: int, count: int, feeds: range) -> NDArray[np.intp]:
        """Which of ``total`` positions are drawn of each of ``feeds``, in order: [feeds, drawn]."""
        key = total, count, feeds
        if key not in self._drawn:
            least = min(count, total)
            drawn = [np.random.default_rng((self._seed, n)).choice(total, least, replace=False) for n in feeds]
            self._drawn[key] = np.sort(np.stack(drawn), axis=1)
        return self._drawn[key]

    def _windows(self, window: Geometry, shape: tuple[int, ...], count: int, feeds: range) -> _Taps:
        """The windows at the positions that are drawn of ``feeds``, one feed after the other."""
        key = window, shape, count, feeds
        if key not in self._taps:
            sizes = window.outputs(shape[2:])
            drawn = self._positions(shape[0] * int(np.prod(sizes)), count, feeds).reshape(-1)
            self._taps[key] = _Taps.at(np.unravel_index(drawn, (shape[0], *sizes)), window, shape[2:])
        return self._taps[key]


@dataclass(frozen=True)
class _Taps:
    """Where the elements under windows lie: ``entry`` in the batch, [windows, 1, ...], ``grids`` along spatial axes,
    which broadcast to [windows, *kernel]; ``outside``: in the padding, [windows, *kernel], None where none is.
    """

    entry: NDArray[np.intp]
    grids: tuple[NDArray[np.intp], ...]
    outside: NDArray[np.bool_] | None

    @staticmethod
    def at(positions: tuple[NDArray[np.intp], ...], window: Geometry, lengths: tuple[int, ...]) -> _Taps:
        """Windows at ``positions`` of the output: entry of the batch, then spatial axes, [windows] each."""
        entry, *starts = positions
        rank, rows = len(starts), len(entry)
        inside: NDArray[np.bool_] = np.ones((rows, *[1] * rank), np.bool_)
        grids = list[NDArray[np.intp]]()
        for axis, start in enumerate(starts):
            taps = np.arange(window.kernel[axis]) * window.dilations[axis] - window.pads[axis][0]
            shape = [rows] + [1] * rank
            shape[axis + 1] = len(taps)
            grid = (start[:, None] * window.strides[axis] + taps[None, :]).reshape(shape)
            last = lengths[axis] - 1
            inside = inside & (grid >= 0) & (grid <= last)
            grids.append(np.clip(grid, 0, last))
        return _Taps(entry.reshape(-1, *[1] * rank), tuple(grids), None if inside.all() else ~inside)

    def of(self, data: Floats, windows: slice) -> Floats:
        """Some of the ``windows`` of ``data``, zero in the padding: [windows, channels, *kernel]."""
        index: tuple[Any, ...] = (self.entry[windows], slice(None), *(grid[windows] for grid in self.grids))
        found: Floats = data[index]  # [windows, *kernel, channels]
        if self.outside is not None:
            found[self.outside[windows]] = 0
        return np.moveaxis(found, -1, 1)
