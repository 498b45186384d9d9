"""What preparing a float graph decided, in plain numbers: what a retrained successor of the model need not find out.

A bundle keeps it beside the ranges (``quantization.json``); ``again`` makes the same of new weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ChannelTransform:
    """``x' = (x − shift)·scale`` per channel, as ``corrections.transforms.Transform``."""

    shift: list[float]
    scale: list[float]


@dataclass(frozen=True)
class Rewrites:
    """The exact rewrites that were decided on: ``branches`` are the largest magnitudes of a Concat's branches, by which
    they were brought to like ranges; ``channels`` the transforms of activations, by name.
    """

    branches: dict[str, float] = field(default_factory=dict)
    channels: dict[str, ChannelTransform] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """``solved``: weights were rounded by least squares; ``biased``: biases were corrected; ``float_results`` are the
    convolutions whose result stays float in a scheme of integer results. ``noise`` is that of the graph as quantized at
    its outputs, relative to the signal's, on the samples it was judged on; None where it was not measured. In an update
    it is that of the model whose ranges were calibrated, where that is known.
    """

    rewrites: Rewrites
    solved: bool
    biased: bool
    float_results: list[str] = field(default_factory=list)
    noise: float | None = None
