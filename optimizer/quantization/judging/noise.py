"""Noise power at a model's outputs, relative to the signal's: what variants of a graph are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array

SILENT = 1e-9
"""Channels with less than this part of the strongest one's power say nothing. Chosen."""
_NOTHING = 1e-30
"""The least power that a ratio is taken of; far below the square of float32's rounding (1e-14). Chosen."""
_USELESS = 1e6
"""Noise over signal of an output that is not finite, or as good as: 60 dB below its own noise. Chosen."""
Floats64 = NDArray[np.float64]
Powers: TypeAlias = "list[dict[str, tuple[Floats64, Floats64]]]"
"""Of every sample: name of a float output -> power of its signal and of its error, along its last axis."""


def relative_noise(reference: Sequence[Mapping[str, Array]], outputs: Sequence[Mapping[str, Array]]) -> float:
    """Error power over signal power, averaged over the float outputs.

    An output may mix units along its last axis (boxes to 416 beside probabilities): the geometric mean of the ratio
    over all its values and of the mean ratio over its channels lets neither drown the other. Channels are looked at
    where the last axis has one length in all samples.

    Where shapes depend on values (how many boxes pass a threshold) a sample whose shape changed counts as wholly wrong:
    as much error as signal. Values that are not finite in the reference say nothing and are left out.
    """
    return noise_of(powers(reference, outputs))


def powers(reference: Sequence[Mapping[str, Array]], outputs: Sequence[Mapping[str, Array]]) -> Powers:
    """Signal and error of the float outputs of every sample; empty ones are left out."""
    return [
        {name: _powers(value, got[name]) for name, value in wanted.items() if value.dtype.kind == "f" and value.size}
        for wanted, got in zip(reference, outputs, strict=True)
    ]


def decibels(ratio: float, least: float = _NOTHING) -> float:
    """10 log10 of a ratio of powers, of none below ``least``: of a relative noise it is minus the SQNR."""
    return float(10 * np.log10(max(ratio, least)))


def noise_of(samples: Powers) -> float:
    """What ``relative_noise`` says of them."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    ratios = []
    for name in names:
        pairs = [sample[name] for sample in samples if name in sample]
        ratios.append(_ratio([signal for signal, _ in pairs], [error for _, error in pairs]))
    return float(np.mean(ratios)) if ratios else 0.0


def _powers(wanted: Array, got: Array) -> tuple[Floats64, Floats64]:
    """Power of the signal and of the error along the last axis (one number for a scalar)."""
    signal = np.where(np.isfinite(wanted), wanted, 0).astype(np.float64)
    if wanted.shape != got.shape:
        return _by_channel(signal), _by_channel(signal)
    error = np.where(np.isfinite(wanted), got.astype(np.float64) - signal, 0)
    return _by_channel(signal), _by_channel(np.nan_to_num(error, nan=np.inf, posinf=np.inf, neginf=np.inf))


def _ratio(signals: Sequence[Floats64], errors: Sequence[Floats64]) -> float:
    whole = float(sum(part.sum() for part in errors) / max(sum(part.sum() for part in signals), _NOTHING))
    if len({len(part) for part in signals}) > 1 or whole > _USELESS:
        return min(whole, _USELESS)
    signal, error = np.sum(signals, axis=0), np.sum(errors, axis=0)
    live = signal > SILENT * signal.max()
    each = float(np.mean(error[live] / signal[live])) if live.any() else whole
    return min(float(np.sqrt(whole * each)), _USELESS)


def _by_channel(values: Floats64) -> Floats64:
    squares = np.square(values)
    return squares.reshape(-1, values.shape[-1]).sum(axis=0) if values.ndim > 1 else np.atleast_1d(squares.sum())
