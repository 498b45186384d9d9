"""Rows of the matrix product behind a weighted op: what its weight is multiplied with, at sampled positions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp, group


@dataclass(frozen=True)
class Geometry:
    """Window of a convolution: kernel, stride, dilation per spatial axis; pads before and after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]


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


def sample_rows(op: WeightedOp, data: Array, count: int, rng: np.random.Generator) -> Floats:
    """Up to ``count`` rows of the op's input matrix: [rows, groups, reduction].

    For MatMul and Gemm a row is a vector along the last axis; for Conv it is the patch under the kernel at a random
    output position (zero padding included), in the order of the flattened weight.
    """
    if op.node.op_type in ("MatMul", "Gemm"):
        flat = data.reshape(-1, data.shape[-1])
        picked = rng.choice(len(flat), min(count, len(flat)), replace=False)
        return np.asarray(flat[np.sort(picked)], np.float32)[:, None, :]
    window = geometry(op)
    assert window is not None
    patches = _patches(np.asarray(data, np.float32), window, count, rng)
    return patches.reshape(len(patches), group(op.node), -1)


def _patches(data: Floats, window: Geometry, count: int, rng: np.random.Generator) -> Floats:
    """[rows, channels, *kernel] at random output positions of random batch entries; zero where a tap falls into the
    padding.
    """
    spans = [d * (k - 1) + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    lengths = [size + before + after for size, (before, after) in zip(data.shape[2:], window.pads, strict=True)]
    sizes = [(length - span) // s + 1 for length, span, s in zip(lengths, spans, window.strides, strict=True)]
    total = len(data) * int(np.prod(sizes))
    chosen = np.sort(rng.choice(total, min(count, total), replace=False))
    entry, *starts = np.unravel_index(chosen, (len(data), *sizes))
    index: list[NDArray[np.intp] | slice] = [_shaped(entry, 0, len(sizes)), slice(None)]
    inside: NDArray[np.bool_] = np.ones((len(chosen), *[1] * len(sizes)), np.bool_)
    for axis, start in enumerate(starts):
        taps = np.arange(window.kernel[axis]) * window.dilations[axis] - window.pads[axis][0]
        shape = [len(chosen)] + [1] * len(sizes)
        shape[axis + 1] = len(taps)
        grid = (start[:, None] * window.strides[axis] + taps[None, :]).reshape(shape)
        last = data.shape[axis + 2] - 1
        inside = inside & (grid >= 0) & (grid <= last)
        index.append(np.clip(grid, 0, last))
    found = data[tuple(index)]  # [rows, *kernel, channels]
    if not inside.all():
        found[~inside] = 0
    return np.moveaxis(found, -1, 1)


def _shaped(values: NDArray[np.intp], _: int, rank: int) -> NDArray[np.intp]:
    return values.reshape(-1, *itertools.repeat(1, rank))
