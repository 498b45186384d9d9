"""The corrections quantization may make, by the names that ``--without`` and ``optimize explain`` use."""

from __future__ import annotations

from enum import Enum


class Correction(str, Enum):
    """Each can be left out; ``what`` says in a line what it does."""

    BRANCHES = "branches"
    CHANNELS = "channels"
    RANGES = "ranges"
    ROUNDING = "rounding"
    BIAS = "bias"
    FALLBACK = "fallback"

    @property
    def what(self) -> str:
        return _WHAT[self]


_WHAT = {
    Correction.BRANCHES: "branches of a Concat brought to like ranges",
    Correction.CHANNELS: "channels shifted and scaled: zero-point folding, SmoothQuant, cross-layer equalization",
    Correction.RANGES: "clipping thresholds moved to where the op's output has the least error",
    Correction.ROUNDING: "weights rounded by least squares (GPTQ) against the inputs they will see",
    Correction.BIAS: "mean errors of quantized ops taken into their biases",
    Correction.FALLBACK: "ops that cause most of the error left in high precision, within the MAC budget",
}

ALL = frozenset(Correction)
LEARNING = frozenset({Correction.CHANNELS, Correction.ROUNDING})
"""Corrections that fit weights to the samples: left out where those are synthetic (biases bear it)."""


def left_out(corrections: frozenset[Correction]) -> str:
    """A note naming what is not in ``corrections``; empty where nothing is left out."""
    missing = [item for item in Correction if item not in corrections]
    return f"corrections left out: {', '.join(f'{item.value} ({item.what})' for item in missing)}" if missing else ""
