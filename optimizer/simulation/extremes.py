"""How far every activation reaches, also inside composite operators, over the calibration samples.

One streaming pass; each tensor is reduced inside the runtime to two numbers, so memory does not grow with what is
observed. NaN and infinities in a model's own activations (masks of -inf, the log of a zero) are no error here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from optimizer.simulation.composites import expand_composites
from optimizer.simulation.taps import Taps

FILL = 1e8
"""Magnitudes from here on are looked at closely: they may be fills that hide attention scores, not numbers."""
_ALIKE = 0.4
"""Fills are one constant plus scores, or two such masks added: the smallest is at least this part of the largest."""
RELATIVE = {"Div": 1, "Reciprocal": 0, "Log": 0, "Sqrt": 0, "Pow": 0}
"""Operators to which a small operand's digits matter as much as a large one's, and which operand that is."""
_FLOATS = (ir.DataType.FLOAT,)
_LOOKED_AT = 4
"""Feeds on which tensors that reach ``FILL`` are looked at more closely."""
_BELOW = " below fills"


@dataclass(frozen=True)
class Extremes:
    """``largest`` maps tensors to their largest magnitude, fills and infinities left aside; ``within`` maps nodes to
    the largest magnitude between their steps; ``least`` maps tensors that a division, root or logarithm reads to their
    smallest magnitude that is not zero. ``feeds`` is the number of feeds seen.
    """

    largest: Mapping[str, float] = field(default_factory=dict)
    within: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    feeds: int = 0


def observe_extremes(model: ir.Model, feeds: Iterable[Feed]) -> Extremes:
    """The extremes of every float activation of the main graph of ``model``, which is left as it is."""
    work = model.clone()
    inside = expand_composites(work, _FLOATS)
    values, first = _activations(work.graph), list[Feed]()
    taps = Taps(work)
    for name, value in values.items():
        size = taps.do("Abs", value)
        taps.keep(("largest", name), taps.largest(size))
        if _is_relative_operand(value):
            taps.keep(("least", name), taps.least(taps.where(taps.test("Greater", size, 0.0), size, np.inf)))
    largest, least, count = _run(taps, _remembering(feeds, first))
    strange = {name: values[name] for name, found in largest.items() if not found < FILL}
    if strange:
        largest |= _numbers_among(work, strange, first)
    within: dict[str, float] = {}
    for name, node in inside.items():
        within[node] = max(within.get(node, 0.0), largest.pop(name, 0.0))
    return Extremes(largest, within, least, count)


def _remembering(feeds: Iterable[Feed], first: list[Feed]) -> Iterator[Feed]:
    """``feeds``, a few of which are put in ``first`` on the way."""
    for feed in feeds:
        if len(first) < _LOOKED_AT:
            first.append(feed)
        yield feed


def _activations(graph: ir.Graph) -> dict[str, ir.Value]:
    made = (value for node in graph if node.op_type != "Constant" for value in node.outputs)
    return {str(v.name): v for v in (*graph.inputs, *made) if v.name and v.dtype in _FLOATS}


def _is_relative_operand(value: ir.Value) -> bool:
    return any(RELATIVE.get(node.op_type) == index for node, index in value.uses())


def _run(taps: Taps, feeds: Iterable[Feed]) -> tuple[dict[str, float], dict[str, float], int]:
    """The largest and least readings over all feeds, by tensor; NaN counts as infinite."""
    largest: dict[str, float] = {}
    least: dict[str, float] = {}
    count = 0
    with taps.opened() as readings:
        for feed in feeds:
            count += 1
            for (kind, name), value in readings.of(feed).items():
                if kind == "largest":
                    largest[name] = max(largest.get(name, 0.0), np.inf if np.isnan(value) else value)
                elif value < least.get(name, np.inf):
                    least[name] = value
    return largest, least, count


def _numbers_among(model: ir.Model, values: Mapping[str, ir.Value], feeds: Sequence[Feed]) -> dict[str, float]:
    """The largest magnitude of tensors that reach ``FILL``, fills and infinities left aside."""
    taps = Taps(model)
    for name, value in values.items():
        size = taps.do("Abs", value)
        finite = taps.where(taps.test("Less", size, np.inf), size, 0.0)
        high = taps.test("GreaterOrEqual", finite, FILL)
        taps.keep(("largest", name), taps.largest(finite))
        taps.keep(("largest", f"{name}{_BELOW}"), taps.largest(taps.do("Where", high, taps.number(0.0), finite)))
        taps.keep(("least", name), taps.least(taps.where(high, finite, np.inf)))
    largest, least, _ = _run(taps, feeds)
    return {
        name: largest[f"{name}{_BELOW}"]
        if least.get(name, np.inf) >= _ALIKE * max(largest[name], FILL)
        else largest[name]
        for name in values
    }
