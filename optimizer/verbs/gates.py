"""The conditions under which ``optimize compare`` fails: ``p99>+5%``, ``sqnr<40``, ``metric<-0.5%``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from graphs.errors import BadInput


class Quantity(Enum):
    """What can be asked of the second side, and its unit."""

    P50, P90, P99 = "p50", "p90", "p99"
    SIZE, SQNR, COSINE, AGREEMENT, MAX_ABS = "size", "sqnr", "cosine", "agreement", "max_abs"
    METRIC = "metric"

    @property
    def unit(self) -> str:
        """Latencies are milliseconds, sizes megabytes, SQNR decibels; the others have none."""
        return _UNITS.get(self, "")

    @property
    def of_both(self) -> bool:
        """Whether each side has one of its own; else it says how far the second is from the first."""
        return self in (Quantity.P50, Quantity.P90, Quantity.P99, Quantity.SIZE, Quantity.METRIC)


_UNITS = {Quantity.P50: "ms", Quantity.P90: "ms", Quantity.P99: "ms", Quantity.SIZE: "MB", Quantity.SQNR: "dB"}
_SHARES = (Quantity.COSINE, Quantity.AGREEMENT)
"""What may be given in percent as it is."""
_CONDITION = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<than>[<>])\s*(?P<sign>[+-]?)(?P<number>\d+(\.\d+)?)\s*(?P<unit>%|[a-zA-Z]+)?\s*"
)
_EXPECTED = (
    f"one of {', '.join(q.value for q in Quantity)}, then < or >, then a value (40, 5ms) or a change (+5%, -0.5%, +2ms)"
)


@dataclass(frozen=True)
class Gate:
    """A condition that must not come true. ``limit`` is in the quantity's unit, a fraction where ``relative``; with
    ``change`` it is compared with the second side less the first.
    """

    text: str
    quantity: Quantity
    above: bool
    limit: float
    change: bool
    relative: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a gate: ``first`` and ``second`` in its unit (``first`` None where the quantity is of both sides
    together), and a sentence. ``failed`` None where it could not be judged, which counts as failed.
    """

    gate: str
    failed: bool | None
    first: float | None
    second: float | None
    said: str


def gate(text: str) -> Gate:
    """Read a condition. Raises ``BadInput`` for one that is none, or that no quantity can have."""
    found = _CONDITION.fullmatch(text)
    known = {quantity.value: quantity for quantity in Quantity}
    if found is None or found["name"] not in known:
        raise BadInput("no condition", where=f"--fail-if {text!r}", expected=_EXPECTED)
    quantity, unit, change = known[found["name"]], found["unit"] or "", bool(found["sign"])
    relative = unit == "%"
    if relative and not change and quantity not in _SHARES:
        expected = f"a change: {_signed(text)}" if quantity.of_both else f"a value in {quantity.unit or 'its own unit'}"
        raise BadInput("a percentage of what?", where=f"--fail-if {text!r}", expected=expected)
    if change and not quantity.of_both:
        what = f"{quantity.value} is the second side's against the first: it has no change"
        raise BadInput(what, where=f"--fail-if {text!r}", expected=f"a value: {re.sub('[+-]', '', text)}")
    if unit and not relative and unit.lower() != quantity.unit.lower():
        raise BadInput(
            f"{quantity.value} is not in {unit}", where=f"--fail-if {text!r}", expected=quantity.unit or "a number"
        )
    limit = float(found["sign"] + found["number"]) / (100 if relative else 1)
    return Gate(text.strip(), quantity, found["than"] == ">", limit, change, relative)


def _signed(text: str) -> str:
    return re.sub(r"([<>]\s*)", r"\1+" if ">" in text else r"\1-", text)


def judge(gates: Sequence[Gate], first: Mapping[Quantity, float], second: Mapping[Quantity, float]) -> list[Outcome]:
    """Hold every gate against the figures of the two sides; those of both together stand in ``second``."""
    return [_judged(one, first.get(one.quantity), second.get(one.quantity)) for one in gates]


def _judged(one: Gate, first: float | None, second: float | None) -> Outcome:
    name, unit = one.quantity.value, f" {one.quantity.unit}".rstrip()
    if second is None or (one.change and first is None):
        side = "the second" if second is None else "the first"
        return Outcome(one.text, None, first, second, f"{name} was not measured of {side}")
    if math.isnan(second) or (one.change and first is not None and math.isnan(first)):
        side = "the second" if math.isnan(second) else "the first"
        return Outcome(one.text, None, first, second, f"{name} of {side} is no number (NaN)")
    value, said = second, f"{name} {second:.4g}{unit}"
    if one.change and first is not None:
        if one.relative and first == 0:
            return Outcome(one.text, None, first, second, f"{name} of the first is 0: no change is a share of that")
        value = (second - first) / abs(first) if one.relative else second - first
        change = f"{value:+.2%}" if one.relative else f"{value:+.4g}{unit}"
        said = f"{name} {first:.4g} -> {second:.4g}{unit} ({change})"
    return Outcome(one.text, value > one.limit if one.above else value < one.limit, first, second, said)
