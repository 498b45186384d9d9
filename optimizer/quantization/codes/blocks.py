"""Weights in blocks: a scale for each run of inputs of an output channel, as the scheme stores scales.

Rows are [outputs, inputs], whatever the layout of the tensor; scales [outputs, blocks], of which the last block of a
row may be shorter. What is stored is what counts: scales go to the nearest number that FP16, FP8 or an exponent holds
before codes are found for them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import E4M3, Codes, Floats
from optimizer.quantization.codes.scheme import Scales, WeightScheme
from optimizer.quantization.codes.weights import fp16_representable

FRACTIONS = tuple(np.linspace(1.0, 0.5, 16))
"""Parts of the largest magnitude of a block that its codes may end at. With 16 codes a clipped extreme costs less than
coarser steps for all others; below half of it none was chosen on MiniLM's weights."""
_OCTAVES = (1.0, 0.5)
"""Of scales that are powers of two: the one that clips nothing, and the next."""
_SMALLEST_E4M3 = 2.0**-9  # above zero: a subnormal number with the last of three bits
_TINY = 2.0**-120
"""Scales below this are as good as zero: their logarithm is still a number, and E8M0 and float32 hold it. Chosen."""
_EXPONENTS = (-127, 127)  # what E8M0 holds (OCP Microscaling Formats 1.0)
_ROWS = 1 << 18
"""Elements worked on at a time: 1 MiB of float32. Chosen."""


def expanded(scales: Floats, block: int, inputs: int) -> Floats:
    """The scale of every weight: [outputs, inputs] from [outputs, blocks]."""
    every: Floats = np.repeat(scales, block, axis=1)[:, :inputs]
    return every


def blocked(rows: Floats, block: int) -> Floats:
    """[outputs, blocks, block]; the last one filled up with zeros."""
    outputs, inputs = rows.shape
    padded = np.zeros((outputs, -(-inputs // block) * block), rows.dtype)
    padded[:, :inputs] = rows
    return np.ascontiguousarray(padded.reshape(outputs, -1, block), np.float32)


def level_of(scales: Floats) -> np.float32:
    """The one scale of FP8 scales: the power of two at which the largest is among FP8's largest numbers. As a power of
    two it is exact in every float type, and takes no digits from the scales under it.
    """
    largest = float(scales.max(initial=0.0))
    return np.float32(2.0 ** np.ceil(np.log2(max(largest, _TINY) / E4M3.highest)))


def storable(scales: Floats, kind: Scales, level: np.float32 | None = None) -> Floats:
    """The nearest scales that can be stored, none of them zero; powers of two: the next larger, which clips nothing."""
    if kind is Scales.AS_DATA:
        return fp16_representable(scales)
    if kind is Scales.E8M0:
        exponents = np.ceil(np.log2(np.maximum(scales, _TINY)))
        return np.asarray(np.exp2(np.clip(exponents, *_EXPONENTS)), np.float32)
    level = level_of(scales) if level is None else level
    steps: Floats = np.asarray(np.maximum(scales / level, _SMALLEST_E4M3), np.float32)
    E4M3.round(steps)
    steps *= level
    return steps


def plain_scales(rows: Floats, scheme: WeightScheme) -> Floats:
    """Scales at which the largest magnitude of each block is the largest code: plain rounding."""
    block = scheme.block or rows.shape[1]
    return storable(_largest(rows, block) / np.float32(scheme.highest), scheme.scales)


def search_scales(rows: Floats, scheme: WeightScheme, importance: Floats | None = None) -> Floats:
    """Scales of least squared error; ``importance`` [inputs] is what an error of each input counts, the mean square of
    the data it is multiplied by.
    """
    block = scheme.block or rows.shape[1]
    full = _largest(rows, block) / np.float32(scheme.highest)
    level = level_of(full) if scheme.scales is Scales.E4M3 else None
    weights = np.ones(rows.shape[1], np.float32) if importance is None else importance.astype(np.float32)
    weights = blocked(weights[None], block)[0]
    found = np.empty_like(full)
    few = max(_ROWS // max(rows.shape[1], 1), 1)
    for start in range(0, len(rows), few):
        part = slice(start, start + few)
        found[part] = _searched(blocked(rows[part], block), full[part], scheme, weights, level)
    return found


def _searched(blocks: Floats, full: Floats, scheme: WeightScheme, weights: Floats, level: np.float32 | None) -> Floats:
    best, least = np.zeros_like(full), np.full(full.shape, np.inf, np.float32)
    for fraction in _OCTAVES if scheme.scales is Scales.E8M0 else FRACTIONS:
        scales = storable(full * np.float32(fraction), scheme.scales, level)
        error = blocks / scales[..., None]
        scheme.numbers.round(error)
        error *= scales[..., None]
        error -= blocks
        power = np.einsum("obi,obi,bi->ob", error, error, weights)
        better = power < least
        best, least = np.where(better, scales, best), np.where(better, power, least)
    return best


def codes_of(rows: Floats, scales: Floats, scheme: WeightScheme) -> Codes:
    """The nearest codes: [outputs, inputs]."""
    return scheme.numbers.codes(rows / expanded(scales, scheme.block or rows.shape[1], rows.shape[1]))


def values_of(codes: Codes, scales: Floats, scheme: WeightScheme) -> Floats:
    """What codes stand for: [outputs, inputs] float32."""
    inputs = codes.shape[1]
    return codes.astype(np.float32) * expanded(scales, scheme.block or inputs, inputs)


def exponents_of(scales: Floats) -> NDArray[np.uint8]:
    """Powers of two as E8M0 stores them, biased by 127."""
    return (np.log2(scales) - _EXPONENTS[0]).astype(np.uint8)


def _largest(rows: Floats, block: int) -> Floats:
    largest: Floats = np.abs(blocked(rows, block)).max(axis=2, initial=0.0)
    return largest
