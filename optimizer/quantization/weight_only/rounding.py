"""Rounding of weights alone: scales clipped for the data, codes by GPTQ, each where unseen samples gain.

GPTQ (Frantar et al. 2023) rounds one input after the other and lets those to come make good what was lost; with scales
per block they are fixed before, from the weight as it is, so that the order of inputs stays free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphs.reading.number_types import Codes, Floats
from graphs.reading.weighted import WeightedOp, reduction_axis
from optimizer.quantization.codes.blocks import codes_of, expanded, plain_scales, search_scales, values_of
from optimizer.quantization.codes.scheme import WeightScheme
from optimizer.quantization.codes.weights import QuantizedWeight
from optimizer.quantization.corrections.gptq import gptq
from optimizer.quantization.weight_only.moments import InputMoments, squared_error
from optimizer.reconstruction.moments import Moments

WORTH = 0.97
"""Squared error on unseen samples, relative to what there was, below which a rounding is taken. Chosen."""


@dataclass(frozen=True)
class RoundedRows:
    """Codes [outputs, inputs] and scales [outputs, blocks]."""

    codes: Codes
    scales: Floats

    def values(self, scheme: WeightScheme) -> Floats:
        return values_of(self.codes, self.scales, scheme)


def as_weight(op: WeightedOp, rounded: RoundedRows, scheme: WeightScheme) -> QuantizedWeight:
    """In the layout of the op's tensor; scales of blocks along the axis it sums over, else one per output."""
    codes, scales = rounded.codes, rounded.scales
    if reduction_axis(op.node, 2) == 0:
        codes, scales = codes.T, scales.T
    scales = np.ascontiguousarray(scales) if scheme.block else scales.ravel()
    return QuantizedWeight(np.ascontiguousarray(codes), scales)


def plainly(rows: Floats, scheme: WeightScheme) -> RoundedRows:
    """Round to nearest at the scale of the largest magnitude: what every other way is measured against."""
    scales = plain_scales(rows, scheme)
    return RoundedRows(codes_of(rows, scales, scheme), scales)


def rounded(rows: Floats, scheme: WeightScheme, moments: InputMoments, solve: bool) -> tuple[RoundedRows, float]:
    """The best of plain, clipped and solved rounding on unseen samples, and the error it leaves of plain one's."""
    if not moments.usable:
        scales = search_scales(rows, scheme)
        return RoundedRows(codes_of(rows, scales, scheme), scales), 1.0
    best = plainly(rows, scheme)
    start = least = squared_error(best.values(scheme) - rows, moments.check)
    scales = search_scales(rows, scheme, moments.size)
    clipped = RoundedRows(codes_of(rows, scales, scheme), scales)
    error = squared_error(clipped.values(scheme) - rows, moments.check)
    if error < WORTH * least:
        best, least = clipped, error
    if solve:
        half = _solved(rows, scales, scheme, moments.fit, moments.rows // 2)
        error = squared_error(half.values(scheme) - rows, moments.check)
        if error < WORTH * least:  # then all samples are of use
            best, least = (
                _solved(rows, scales, scheme, (moments.fit + moments.check) / np.float32(2), moments.rows),
                error,
            )
    return best, least / start if start > 0 else 1.0


def _solved(rows: Floats, scales: Floats, scheme: WeightScheme, products: Floats, seen: int) -> RoundedRows:
    damped = Moments(products[None].copy(), products[None].copy()).damped(max(seen, 1))
    inputs = rows.shape[1]
    steps = expanded(scales, scheme.block or inputs, inputs)
    codes = gptq(rows[None], damped.hessian, steps[None], numbers=scheme.numbers)[0]
    return RoundedRows(codes, scales)
