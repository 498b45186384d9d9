"""How far every activation reaches, also inside composite operators, over the calibration samples.

One streaming pass; each tensor is reduced inside the runtime to two numbers, so memory does not grow with what is
observed. NaN and infinities in a model's own activations (masks of -inf, the log of a zero) are no error here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from graphs.reading.constants import constant_tensor, input_at
from optimizer.simulation.composites import expand_composites
from optimizer.simulation.hiding import only_hides
from optimizer.simulation.readings import ScalarTaps, opened

LARGEST = 65504.0
"""Where FP16 ends. Tensors that reach it are looked at closely: they may hold fills that hide scores, not numbers."""
FILL = 1e8
"""A tensor of nothing but magnitudes from here on is a fill as well. Chosen."""
_ALIKE = 0.4
"""Fills are one constant plus scores, or two such masks added: the smallest is at least this part of the largest.
Chosen."""
_APART = 8
"""And at least this many times the largest of the other values. Chosen."""
_RELATIVE = {"Div": 1, "Reciprocal": 0, "Log": 0, "Sqrt": 0, "Pow": 0}
_FLOATS = (ir.DataType.FLOAT,)
_LOOKED_AT = 4
"""Feeds on which tensors that leave the range are looked at more closely. Chosen."""
_BELOW = " below fills"


@dataclass(frozen=True)
class Extremes:
    """``largest`` maps tensors to their largest magnitude, fills and infinities left aside; ``within`` maps nodes to
    the largest magnitude between their steps; ``least`` maps tensors that a division, root or logarithm reads to their
    smallest magnitude that is not zero. ``fills`` are tensors with fills in them; ``feeds`` is the number seen.
    """

    largest: Mapping[str, float] = field(default_factory=dict)
    within: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    fills: frozenset[str] = frozenset()
    feeds: int = 0


def relative_operand(node: ir.Node) -> ir.Value | None:
    """The operand whose small values' digits matter to ``node`` as much as those of large ones."""
    index = _RELATIVE.get(node.op_type, len(node.inputs))
    if node.op_type == "Pow":
        exponent = constant_tensor(node.inputs[1])
        if exponent is not None and exponent.size and float(exponent.numpy().min()) >= 1:
            return None
    return input_at(node, index)


def observe_extremes(model: ir.Model, feeds: Iterable[Feed]) -> Extremes:
    """The extremes of every float activation of the main graph of ``model``, which is left as it is."""
    work = model.clone()
    inside = expand_composites(work, _FLOATS)
    values, first = _activations(work.graph, inside), list[Feed]()
    taps = ScalarTaps(work)
    for name, value in values.items():
        size = taps.do("Abs", value)
        taps.keep(("largest", name), taps.largest(size))
        if _is_relative_operand(value):
            taps.keep(("least", name), taps.least(taps.where(taps.test("Greater", size, 0.0), size, np.inf)))
    largest, least, count = _run(taps, _remembering(feeds, first))
    strange = {name: values[name] for name, found in largest.items() if not found < LARGEST}
    may_hide = _hiding(model, strange, inside)
    numbers, fills = _look_closely(work, strange, first, may_hide) if strange else ({}, frozenset())
    largest |= numbers
    within: dict[str, float] = {}
    for name, node in inside.items():
        if node:
            within[node] = max(within.get(node, 0.0), largest.pop(name, 0.0))
    return Extremes(largest, within, least, fills, count)


def _remembering(feeds: Iterable[Feed], first: list[Feed]) -> Iterator[Feed]:
    """``feeds``, a few of which are put in ``first`` on the way."""
    for feed in feeds:
        if len(first) < _LOOKED_AT:
            first.append(feed)
        yield feed


def _activations(graph: ir.Graph, inside: Mapping[str, str]) -> dict[str, ir.Value]:
    made = (value for node in graph if node.op_type != "Constant" for value in node.outputs)
    named = (value for value in (*graph.inputs, *made) if value.name)  # an output left out has no name
    return {str(v.name): v for v in named if v.dtype in _FLOATS and inside.get(str(v.name), "observed")}


def _is_relative_operand(value: ir.Value) -> bool:
    return any(relative_operand(node) is value for node, _ in value.uses())


def _run(taps: ScalarTaps, feeds: Iterable[Feed]) -> tuple[dict[str, float], dict[str, float], int]:
    """The largest and least readings over all feeds, by tensor; NaN counts as infinite."""
    largest: dict[str, float] = {}
    least: dict[str, float] = {}
    count = 0
    with opened(taps) as readings:
        for feed in feeds:
            count += 1
            for (kind, name), value in readings.of(feed).items():
                if kind == "largest":
                    largest[name] = max(largest.get(name, 0.0), np.inf if np.isnan(value) else value)
                elif value < least.get(name, np.inf):
                    least[name] = value
    return largest, least, count


def _hiding(model: ir.Model, strange: Collection[str], inside: Mapping[str, str]) -> set[str]:
    """Which ``strange`` tensors may hold fills: steps of composite operators, and what only hides in ``model``."""
    own = _activations(model.graph, {})
    return {name for name in strange if inside.get(name) or (name in own and only_hides(own[name]))}


def _look_closely(
    model: ir.Model, values: Mapping[str, ir.Value], feeds: Sequence[Feed], hiding: Collection[str]
) -> tuple[dict[str, float], frozenset[str]]:
    """The largest magnitude of tensors that leave FP16, fills and infinities left aside; and which hold fills: none but
    those named in ``hiding``, whose huge values are no operand of any arithmetic.
    """
    taps = ScalarTaps(model)
    for name, value in values.items():
        size = taps.do("Abs", value)
        finite = taps.where(taps.test("Less", size, np.inf), size, 0.0)
        high = taps.test("GreaterOrEqual", finite, LARGEST)
        taps.keep(("largest", name), taps.largest(finite))
        taps.keep(("largest", f"{name}{_BELOW}"), taps.largest(taps.do("Where", high, taps.number(0.0), finite)))
        taps.keep(("least", name), taps.least(taps.where(high, finite, np.inf)))
        taps.keep(("least", f"{name}{_BELOW}"), taps.least(size))
    largest, least, _ = _run(taps, feeds)
    numbers, fills = {}, set()
    for name in values:
        lowest, below = least.get(name, np.inf), largest[f"{name}{_BELOW}"]
        alike = lowest >= _ALIKE * largest[name] and lowest >= _APART * below
        if alike and name in hiding and (lowest >= FILL or least.get(f"{name}{_BELOW}", np.inf) * _APART <= lowest):
            fills.add(name)
        numbers[name] = below if name in fills else largest[name]
    return numbers, frozenset(fills)
