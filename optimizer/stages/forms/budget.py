"""The only loop of the pipeline: what stays in high precision so that a form keeps within the accuracy budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from optimizer.quantization.corrections.fallback import NEARLY, Allowance
from optimizer.quantization.prepared import QuantizedModel
from optimizer.stages.forms.typed_forms import TypedForm

T = TypeVar("T")
RETRIES = (0.25, 0.5)
"""Where a form is over the accuracy budget: most of the MACs that are left out of int8, beside what rules leave out.
Chosen, not measured: half of the work in FP16 is where INT8 has little left to give."""
BETTER = 4.0
"""By what factor the noise is to fall with each retry (6 dB), for as few MACs as that takes. Chosen."""


class Quantizable(Protocol):
    """A prepared float graph (``quantize.Prepared``)."""

    def kept_float(self, allowance: Allowance) -> frozenset[str]:
        """The nodes that ``quantized`` would try to leave out; costs nothing."""

    def quantized(self, allowance: Allowance) -> QuantizedModel: ...


@dataclass(frozen=True)
class _Tried:
    form: TypedForm
    left_out: frozenset[str]


def within_budget(
    prepared: Quantizable, make: Callable[[QuantizedModel], TypedForm], say: Callable[[str], None]
) -> TypedForm:
    """Make and check a form; while it is over budget, leave the next cheapest nodes in high precision and do it again.

    Nothing is made twice: where an allowance leaves out the same nodes as an earlier one, the next is looked at. Where
    nothing reaches the budget, the first form that is as near as any: MACs are not spent in vain.
    """
    allowance, expected = Allowance(), 0.0
    tried: list[_Tried] = []
    chosen: set[frozenset[str]] = set()
    for most in (None, *RETRIES):
        if most is not None:
            allowance = Allowance(allowance.share, target=expected / BETTER, most=most)
        nodes = prepared.kept_float(allowance)
        if nodes not in chosen:
            chosen.add(nodes)
            quantized = prepared.quantized(allowance)
            expected = quantized.expected
            if quantized.fallen_back not in [earlier.left_out for earlier in tried]:
                form = make(quantized)
                if form.check.ok:
                    return form
                say(f"with {form.in_words}: {'; '.join(form.check.reasons)}")
                tried.append(_Tried(form, quantized.fallen_back))
    return [*as_near_as_any(tried, lambda item: item.form.check.drop), tried[-1]][0].form


def as_near_as_any(tried: Sequence[T], drop: Callable[[T], float]) -> list[T]:
    """Of what was tried and is over the budget, all that loses little more than the best does, in their order; empty
    where no drop is a number.
    """
    least = min(map(drop, tried))
    return [item for item in tried if drop(item) <= NEARLY * max(least, 0.0)]
