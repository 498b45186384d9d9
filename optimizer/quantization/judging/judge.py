"""Judge variants of a quantized graph by what they do to the model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.graph import simulated_outputs
from optimizer.attempt import attempt
from optimizer.quantization.judging.noise import decibels, relative_noise

CLOSE = 10**0.1
"""Two variants within 1 dB are too close to call before the corrections that follow. Chosen."""

CLEARLY = 0.93
"""Noise relative to that of what is there at which another variant is taken (0.3 dB less): closer than that the samples
do not tell. Chosen."""

KEPT_BYTES = 64 << 20
"""The float model's answers that are kept from one judging to the next. Chosen."""

Answers = Sequence[Mapping[str, Array]]
"""Outputs by name, of one feed after the other."""

Variant = Callable[[ir.Model], None]
"""Quantizes a copy of the model, in place."""


class Judge:
    """Compares variants of the float ``model`` with itself, on feeds that no correction has seen."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._known: dict[int, tuple[Feed, Mapping[str, Array]]] = {}

    def noise(self, variants: Mapping[str, Variant], feeds: Sequence[Feed]) -> tuple[dict[str, float], list[str]]:
        """Noise power at the outputs, relative to the signal's, of each variant of the model; the least first.

        Also a note for each variant that could not be judged.
        """
        reference, notes = attempt("judging by output error", partial(self._reference, feeds), None)
        noise: dict[str, float] = {}
        for name, quantize in variants.items() if reference is not None else ():
            found, failed = attempt(f"judging {name}", partial(self._noise, quantize, feeds, reference), None)
            notes += failed
            if found is not None:
                noise[name] = found
        return dict(sorted(noise.items(), key=lambda item: item[1])), notes

    def noise_of(self, quantized: ir.Model, feeds: Sequence[Feed]) -> tuple[float | None, list[str]]:
        """The same of a graph that is ``quantized`` already; None, and why, where that cannot be found."""
        return attempt(
            "judging by output error",
            lambda: relative_noise(self._reference(feeds), simulated_outputs(quantized, feeds)),
            None,
        )

    def clearly_less(
        self, name: str, variant: Variant, noise: Mapping[str, float], feeds: Sequence[Feed]
    ) -> dict[str, float] | None:
        """The noise of ``variant``, under ``name``, where it is clearly less than what was found for that before."""
        found, _ = self.noise({name: variant}, feeds)
        return found if found and found[name] < CLEARLY * noise[name] else None

    def _noise(
        self, quantize: Variant, feeds: Sequence[Feed], reference: Sequence[Mapping[str, Array]] | None
    ) -> float:
        copy = self._model.clone()
        quantize(copy)
        return relative_noise(reference or [], simulated_outputs(copy, feeds))

    def _reference(self, feeds: Sequence[Feed]) -> list[Mapping[str, Array]]:
        """The float model's answers to ``feeds``, as many kept as are small."""
        new = [feed for feed in feeds if id(feed) not in self._known]
        if not new:
            return [self._known[id(feed)][1] for feed in feeds]
        answers = dict(zip(map(id, new), simulated_outputs(self._model, new), strict=True))
        known = {id(feed): (feed, answers[id(feed)]) for feed in new}
        if _size(found for _, found in [*known.values(), *self._known.values()]) <= KEPT_BYTES:
            self._known |= known
        return [(known.get(id(feed)) or self._known[id(feed)])[1] for feed in feeds]


def _size(answers: Iterable[Mapping[str, Array]]) -> int:
    return sum(array.nbytes for found in answers for array in found.values())


def close_to_best(noise: Mapping[str, float], most: int = 2) -> list[str]:
    """The best and up to ``most - 1`` others too close to it to be ruled out; ``noise`` has the least first."""
    least = next(iter(noise.values()))
    return [name for name, value in noise.items() if value <= CLOSE * least][:most]


def in_db(noise: Mapping[str, float]) -> str:
    """``"mse 16.5 dB, percentile 16.2 dB"``: signal to noise at the outputs."""
    return ", ".join(f"{name} {-decibels(value):.1f} dB" for name, value in noise.items())
