"""Judge variants of a quantized graph by what they do to the model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.graph import running_many, simulated_outputs
from optimizer.attempt import attempt
from optimizer.quantization.judging.noise import Floats64, Powers, decibels, noise_of, powers, relative_noise

CLOSE = 10**0.1
"""Two variants within 1 dB are too close to call before the corrections that follow. Chosen."""

CLEARLY = 0.93
"""Noise relative to that of what is there at which another variant is taken (0.3 dB less): closer than that the samples
do not tell. Chosen."""

GLANCE, LEAST_GLANCE = 3, 5
"""One of so many feeds, and so many feeds at least, tell a variant that is far behind. Chosen."""
BEHIND = 10**0.2
"""Noise relative to the best on those, from which it is left: 2 dB, on five images of fifteen MobileNetV2's tables keep
to within 1 dB of what they are on all. Chosen."""

KEPT_BYTES = 64 << 20
"""The float model's answers that are kept from one judging to the next. Chosen."""

Answers = Sequence[Mapping[str, Array]]
"""Outputs by name, of one feed after the other."""

Variant = Callable[[ir.Model], None]
"""Quantizes a copy of the model, in place."""


class Judge:
    """Compares variants of the float ``model`` with itself, on feeds that no correction has seen.

    ``on_cpu``: variants run in ONNX Runtime's integer kernels, as they will (of MobileNetV2 in 4.5 ms a sample); else
    with Q/DQ computed in float (13 ms).
    """

    def __init__(self, model: ir.Model, *, on_cpu: bool = False) -> None:
        self._model, self._on_cpu = model, on_cpu
        self._known: dict[int, tuple[Feed, Mapping[str, Array]]] = {}
        self._found: dict[str, Powers] = {}  # of the variants that were looked at last

    def noise(
        self, variants: Mapping[str, Variant], feeds: Sequence[Feed], *, racing: bool = False
    ) -> tuple[dict[str, float], list[str]]:
        """Noise power at the outputs, relative to the signal's, of each variant of the model; the least first.

        Also a note for each variant that could not be judged. ``racing``: one that is ``BEHIND`` the best before it on
        the first ``GLANCE`` of the feeds is left, with a note.
        """
        reference, notes = attempt("judging by output error", partial(self._reference, feeds), None)
        found: dict[str, Powers] = {}
        for name, quantize in variants.items() if reference is not None else ():
            ahead = min(found.values(), key=noise_of) if found and racing else []
            seen, failed = attempt(f"judging {name}", partial(self._powers, quantize, feeds, reference, ahead), None)
            notes += failed
            if seen is not None and len(seen) == len(feeds):
                found[name] = seen
            elif seen is not None:
                notes.append(f"{in_db({name: noise_of(seen)})} on {len(seen)} samples: left there, others are ahead")
        self._found = found
        noise = {name: noise_of(seen) for name, seen in found.items()}
        return dict(sorted(noise.items(), key=lambda item: item[1])), notes

    def noise_of(self, quantized: ir.Model, feeds: Sequence[Feed]) -> tuple[float | None, list[str]]:
        """The same of a graph that is ``quantized`` already; None, and why, where that cannot be found."""
        return attempt(
            "judging by output error",
            lambda: relative_noise(self._reference(feeds), self._outputs(quantized, feeds)),
            None,
        )

    def clearly_less(
        self, name: str, variant: Variant, noise: Mapping[str, float], feeds: Sequence[Feed]
    ) -> dict[str, float] | None:
        """The noise of ``variant``, under ``name``, where it is clearly less than what was found for that before, on
        the same feeds; it is left on the way where it is far from that.
        """
        ahead = self._found.get(name, [])
        seen, _ = attempt(f"judging {name}", lambda: self._powers(variant, feeds, self._reference(feeds), ahead), None)
        if seen is None or len(seen) < len(feeds) or noise_of(seen) >= CLEARLY * noise[name]:
            return None
        self._found[name] = seen
        return {name: noise_of(seen)}

    def _powers(
        self, quantize: Variant, feeds: Sequence[Feed], reference: Sequence[Mapping[str, Array]] | None, ahead: Powers
    ) -> Powers:
        """Signal and error of every feed; of the first few alone where those of ``ahead`` have far less error."""
        copy = self._model.clone()
        quantize(copy)
        few, seen = max(-(-len(feeds) // GLANCE), LEAST_GLANCE), list[dict[str, tuple[Floats64, Floats64]]]()
        with running_many(copy, len(feeds), fuse_qdq=self._on_cpu) as run:
            for wanted, got in zip(reference or [], run(feeds), strict=True):
                seen += powers([wanted], [got])
                if len(seen) == few < len(ahead) and noise_of(seen) > BEHIND * noise_of(ahead[:few]):
                    break
        return seen

    def _outputs(self, quantized: ir.Model, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
        return simulated_outputs(quantized, feeds, fuse_qdq=self._on_cpu)

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
