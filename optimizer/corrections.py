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
    PERMUTATION = "permutation"
    RECONSTRUCTION = "reconstruction"

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
    Correction.PERMUTATION: "channels reordered so that 2:4 sparsity takes less away",
    Correction.RECONSTRUCTION: "weights that 2:4 sparsity leaves solved for, so that layers give what they gave",
}

PRUNING = frozenset({Correction.PERMUTATION, Correction.RECONSTRUCTION})
"""What is done where weights are pruned (``--sparsity``)."""
ALL = frozenset(Correction) - PRUNING
"""What is done where a graph is quantized."""
LEARNING = frozenset({Correction.CHANNELS, Correction.ROUNDING})
"""Corrections that fit weights to the samples: left out where those are synthetic (biases bear it)."""


def left_out(corrections: frozenset[Correction]) -> str:
    """A note naming what is not in ``corrections``; empty where nothing is left out."""
    missing = [item for item in Correction if item in ALL - corrections]
    return f"corrections left out: {', '.join(f'{item.value} ({item.what})' for item in missing)}" if missing else ""
