"""The share of equal decisions between a reference output and a candidate's, streamed.

Which decision an output makes is read from the reference:

- ``exact``: integers, booleans and strings; the share of equal elements.
- ``argmax``: a floating [N, C], [N, L, C] or [N, C, H, W, ...] output with C >= 2: the share of equal argmax along C.
  Ties are fair: a candidate that picks another class of equal reference value agrees.
- ``threshold 0.5``: one value per sample or per pixel (a map with a single channel), all reference values in [0, 1]
  (probabilities, a mask): the share on the same side.
- ``within 1% of range``: anything else: the share of elements whose error is at most 1 % of the reference's range. The
  range is known only at the end, so errors are kept in a histogram of 16 bins per octave (the share is exact but for
  errors within 4.5 % of the limit, which count as outside).
"""

from __future__ import annotations

import math

import numpy as np

from engines.engine import Array

RANGE_SHARE = 0.01
"""Largest error, as a share of the range of the reference, that still agrees: 1 % of the range, as a meter is rated by
its full scale. Chosen.
"""
_BINS_PER_OCTAVE = 16
"""Errors are kept by size in bins of a sixteenth of a factor of two: 4.4 % wide. Chosen."""
_LOWEST_OCTAVE = -150
"""The smallest error that is told apart, as a power of two: below the smallest float32 (2^-149)."""
_OCTAVES = 300
"""From there to 2^150, beyond the largest float32 (2^128)."""


class Agreement:
    """Running counts of one output."""

    def __init__(self) -> None:
        self._kind = ""
        self._equal = self._total = 0
        self._same_side = 0
        self._single = True
        self._low, self._high = math.inf, -math.inf
        self._histogram = np.zeros(_OCTAVES * _BINS_PER_OCTAVE, np.int64)

    def add(self, reference: Array, candidate: Array) -> None:
        """Take in one feed's output; both arrays have the same shape."""
        axis = class_axis(reference)
        if reference.dtype.kind != "f":
            self._count("exact", np.asarray(reference == candidate))
        elif axis is not None:
            self._count("argmax", _equal_choice(reference, candidate, axis))
        else:
            self._add_values(reference.astype(np.float64), candidate.astype(np.float64))

    def add_rows(self, found: int, total: int) -> None:
        """Count rows that were ``found`` again of ``total``, where their number depends on the data."""
        self._kind = "rows found again"
        self._equal += found
        self._total += total

    def disagree(self, reference: Array) -> None:
        """Count every decision of this feed as different: the candidate's shape did not fit."""
        axis = class_axis(reference)
        self._total += reference.size // (reference.shape[axis] if axis is not None else 1) or 1

    def _count(self, kind: str, equal: Array) -> None:
        self._kind = kind
        self._equal += int(np.count_nonzero(equal))
        self._total += int(equal.size)

    def _add_values(self, r: Array, c: Array) -> None:
        finite = np.isfinite(r)
        if finite.any():
            self._low = min(self._low, float(r[finite].min()))
            self._high = max(self._high, float(r[finite].max()))
        self._single = self._single and (r.ndim == 0 or r.size == r.shape[0] or _one_channel(r))
        self._same_side += int(np.count_nonzero(((r >= 0.5) == (c >= 0.5)) & (np.isfinite(c) | same_values(r, c))))
        self._total += r.size
        with np.errstate(invalid="ignore"):
            error = np.abs(r - c)
        self._equal += int(np.count_nonzero((error == 0) | same_values(r, c)))
        octaves = np.log2(error[(error > 0) & np.isfinite(error)])
        bins = np.floor((octaves - _LOWEST_OCTAVE) * _BINS_PER_OCTAVE).astype(np.int64)
        self._histogram += np.bincount(np.clip(bins, 0, self._histogram.size - 1), minlength=self._histogram.size)

    def result(self) -> tuple[float, str]:
        """(share of equal decisions in [0, 1], which decision). Without elements no decision differs."""
        if not self._total:
            return 1.0, self._kind or "exact"
        if self._kind:
            return self._equal / self._total, self._kind
        if self._single and self._low >= 0.0 and self._high <= 1.0:
            return self._same_side / self._total, "threshold 0.5"
        return self._share_within(), f"within {RANGE_SHARE:.0%} of range"

    def _share_within(self) -> float:
        limit = RANGE_SHARE * (self._high - self._low)
        within = self._equal
        if limit > 0 and math.isfinite(limit):
            whole_bins = math.floor((math.log2(limit) - _LOWEST_OCTAVE) * _BINS_PER_OCTAVE)
            within += int(self._histogram[: max(whole_bins, 0)].sum())
        return within / self._total


def class_axis(output: Array) -> int | None:
    """The axis a decision is taken along: 1 for [N, C] and images [N, C, H, W, ...], 2 for sequences [N, L, C]."""
    if output.dtype.kind != "f" or output.ndim < 2 or not output.size:
        return None
    if _one_channel(output):
        return None
    axis = 2 if output.ndim == 3 else 1
    return axis if output.shape[axis] >= 2 else None


def _one_channel(output: Array) -> bool:
    """A map [N, 1, H, W, ...] or [N, H, W, ..., 1]."""
    return output.ndim >= 4 and 1 in (output.shape[1], output.shape[-1])


def _equal_choice(reference: Array, candidate: Array, axis: int) -> Array:
    chosen = np.expand_dims(np.argmax(candidate, axis), axis)
    at_choice = np.take_along_axis(reference, chosen, axis).squeeze(axis)
    same = same_values(reference, candidate).all(axis)
    return np.asarray(same | ((at_choice == reference.max(axis)) & np.isfinite(candidate).all(axis)))


def same_values(reference: Array, candidate: Array) -> Array:
    """Where the two hold the same value, NaN included."""
    return np.asarray((candidate == reference) | (np.isnan(candidate) & np.isnan(reference)))
