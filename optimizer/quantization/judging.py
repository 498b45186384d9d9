"""Judge variants of a quantized graph by what they do to the model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from engines.engine import Array, Feed
from optimizer.attempt import attempt
from optimizer.quantization.capture import outputs_of
from optimizer.quantization.corrections.sensitivity import relative_noise

CLOSE = 10**0.1
"""Two variants within 1 dB are too close to call before the corrections that follow."""

CLEARLY = 0.93
"""Noise relative to that of what is there at which another variant is taken (0.3 dB less): closer than that the samples
do not tell."""

Variant = Callable[[ir.Model], None]
"""Quantizes a copy of the model, in place."""


def output_noise(
    model: ir.Model, variants: Mapping[str, Variant], feeds: Sequence[Feed]
) -> tuple[dict[str, float], list[str]]:
    """Noise power at the outputs, relative to the signal's, of each variant of ``model``; the least first.

    ``feeds`` must be samples that no correction has seen. Also a note for each variant that could not be judged.
    """
    reference, notes = attempt("judging by output error", partial(outputs_of, model, feeds), None)
    noise: dict[str, float] = {}
    for name, quantize in variants.items() if reference is not None else ():
        found, failed = attempt(f"judging {name}", partial(_noise, model, quantize, feeds, reference), None)
        notes += failed
        if found is not None:
            noise[name] = found
    return dict(sorted(noise.items(), key=lambda item: item[1])), notes


def _noise(
    model: ir.Model, quantize: Variant, feeds: Sequence[Feed], reference: Sequence[Mapping[str, Array]] | None
) -> float:
    copy = model.clone()
    quantize(copy)
    return relative_noise(reference or [], outputs_of(copy, feeds))


def noise_of(model: ir.Model, quantized: ir.Model, feeds: Sequence[Feed]) -> tuple[float | None, list[str]]:
    """Noise power at the outputs of ``quantized``, relative to the signal's of ``model``; None, and why, where that
    cannot be found.
    """
    return attempt(
        "judging by output error", lambda: relative_noise(outputs_of(model, feeds), outputs_of(quantized, feeds)), None
    )


def clearly_less(
    model: ir.Model, name: str, variant: Variant, noise: Mapping[str, float], feeds: Sequence[Feed]
) -> dict[str, float] | None:
    """The noise of ``variant``, under ``name``, where it is clearly less than the ``noise`` already found for that."""
    found, _ = output_noise(model, {name: variant}, feeds)
    return found if found and found[name] < CLEARLY * noise[name] else None


def close_to_best(noise: Mapping[str, float], most: int = 2) -> list[str]:
    """The best and up to ``most - 1`` others too close to it to be ruled out; ``noise`` has the least first."""
    least = next(iter(noise.values()))
    return [name for name, value in noise.items() if value <= CLOSE * least][:most]


def in_db(noise: Mapping[str, float]) -> str:
    """``"mse 16.5 dB, percentile 16.2 dB"``: signal to noise at the outputs."""
    return ", ".join(f"{name} {-10 * np.log10(max(value, 1e-20)):.1f} dB" for name, value in noise.items())
