"""Typing a graph in half precision so that it still computes what it computed in FP32.

Rules (``half_precision.islands``) keep in FP32 what is known or was observed to leave the range. Then the typed graph
is simulated: where its outputs lose more than rounding costs, the nodes that lose it are found, and they, with what
makes their operands, stay in FP32 as well; a few rounds, each reaching further back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.graph import simulated_outputs
from graphs.reading.operators import is_standard
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.passes.half_precision.ranges import SMALLEST_NORMAL, observed_size
from optimizer.passes.half_precision.scale_products import ScaleProducts
from optimizer.simulation.extremes import Extremes
from optimizer.simulation.float_twin import float_twin
from optimizer.simulation.local_error import PRODUCTS, local_sqnr
from optimizer.simulation.not_finite import first_not_finite

Answers = Sequence[Mapping[str, Array]]

FLOOR = {ir.DataType.FLOAT16: 10**-4.2, ir.DataType.BFLOAT16: 10**-2.4}
"""Noise over signal that half precision may cost at the outputs: 42 dB, and 18 dB less for the 3 bits fewer of BF16.
Nets of some fifty layers stand at 45 to 60 dB in FP16 (MobileNetV2 48, ResNet-14 63)."""
_BEYOND_QUANTIZATION = 10**0.1
"""And beside the noise of INT8 it may add 1 dB. Chosen."""
_DIGITS_LESS = {ir.DataType.FLOAT16: 0.0, ir.DataType.BFLOAT16: 18.0}  # dB of its bits fewer than FP16's


@dataclass(frozen=True)
class Round:
    """Nodes below ``sqnr_db`` on their own stay FP32, and what makes their operands up to ``back`` nodes before them;
    matrix products and convolutions among these for up to ``share`` of the work."""

    sqnr_db: float
    back: int
    share: float = 0.0


ROUNDS = (Round(40, 2), Round(50, 8), Round(50, 40), Round(50, 40, 0.1), Round(50, 40, 0.5), Round(50, 40, 1.0))
"""What is tried, one after the other, until the outputs are right: the cheapest first. Chosen."""


@dataclass(frozen=True)
class Held:
    """What a plan that was given has settled: nodes that stay FP32, with the reason, and nodes that no search and no
    neighbour makes FP32. ``complete``: it settles every node, and there is nothing to search for."""

    fp32: Mapping[str, str] = field(default_factory=dict)
    half: frozenset[str] = frozenset()
    complete: bool = False


@dataclass(frozen=True)
class HalfTyped:
    """``model`` typed in place of the float graph; ``kept`` maps nodes left in FP32 to reasons. ``noise`` is what its
    outputs were off in simulation, relative to the signal."""

    model: ir.Model
    kept: Mapping[str, str]
    notes: tuple[str, ...]
    noise: float


class IslandSearch:
    """``feeds`` are a few calibration feeds, ``wanted`` the FP32 model's answers to them; ``costs`` MACs by node."""

    def __init__(self, dtype: ir.DataType, feeds: Sequence[Feed], wanted: Answers, costs: Mapping[str, int]) -> None:
        self._dtype, self._costs = dtype, costs
        self.feeds, self.wanted = feeds, wanted

    def type(self, model: ir.Model, extremes: Extremes, noise: float = 0.0, held: Held | None = None) -> HalfTyped:
        """Type a copy of ``model``, whose own outputs are off by ``noise`` (quantization) already; what is ``held``
        stays as it is.
        """
        limit = _BEYOND_QUANTIZATION * noise + FLOOR[self._dtype]
        held = held or Held()
        keep = dict(held.fp32)
        losing: set[str] = set()
        best = now = self._typed(model, extremes, keep, held.half)
        found: _Losses | None = None
        for attempt in ROUNDS:
            if now.noise <= limit:
                return now
            found = found or self._losses(model, now.model, extremes)
            lost = self._lost(model, found, attempt, {name: keep[name] for name in losing})
            more = self._with_operands(model, lost, attempt, keep)
            more = {name: reason for name, reason in more.items() if name not in held.half}
            if not more:
                continue
            losing |= lost.keys() - keep.keys()
            keep |= more
            now, found = self._typed(model, extremes, keep, held.half), None
            best = now if now.noise < _CLEARLY * best.noise or not np.isfinite(best.noise) else best
        return now if now.noise <= limit else best

    def _typed(self, model: ir.Model, extremes: Extremes, keep: Mapping[str, str], half: frozenset[str]) -> HalfTyped:
        typed = typed_by_rules(model, self._dtype, extremes, Held(keep, half))
        return replace(typed, noise=worst_noise(self.wanted, answers(typed.model, self.feeds)))

    def _losses(self, model: ir.Model, typed: ir.Model, extremes: Extremes) -> _Losses:
        own = local_sqnr(model, typed, self.feeds, extremes.fills)
        vanished = _vanished(model.graph, extremes) if self._dtype == ir.DataType.FLOAT16 else []
        return _Losses(own, first_not_finite(model, typed, self.feeds), vanished)

    def _lost(self, model: ir.Model, losses: _Losses, how: Round, before: Mapping[str, str]) -> dict[str, str]:
        """Nodes that lose their own result, those that did ``before`` included, with the reason."""
        least = how.sqnr_db - _DIGITS_LESS[self._dtype]
        lost = {
            name: f"loses its result in half precision ({found:.0f} dB)"
            for name, found in losses.sqnr_db.items()
            if found < least
        }
        lost |= dict.fromkeys(losses.vanished, "all that it reads or gives vanishes in half precision")
        lost |= dict.fromkeys(losses.not_finite, "overflows or divides by a vanished number")
        lost |= before
        if how.back > _NEAR:
            lost |= dict.fromkeys(_in_branches(model.graph), "in a branch of a graph that loses its result")
        return lost

    def _with_operands(
        self, model: ir.Model, lost: Mapping[str, str], how: Round, keep: Mapping[str, str]
    ) -> dict[str, str]:
        """``lost`` and the nodes that make its operands, with the reason; without those in ``keep`` already."""
        found = dict(lost)
        budget = how.share * sum(self._costs.values())
        nodes = {str(node.name): node for node in model.graph}
        for name in lost:
            for before in _sources(nodes[name], how.back, self._costs, budget) if name in nodes else ():
                found.setdefault(str(before.name), f"its result is needed in FP32 by {name}")
        return {name: reason for name, reason in found.items() if name not in keep}


@dataclass(frozen=True)
class _Losses:
    """What each node loses by itself, the nodes at which results first stop being finite, and those of vanishing
    numbers."""

    sqnr_db: Mapping[str, float]
    not_finite: Sequence[str]
    vanished: Sequence[str]


_VANISHES = SMALLEST_NORMAL / 8
"""Float16's numbers below have 7 bits or fewer: 42 dB, what half precision may cost (``FLOOR``)."""


def _vanished(graph: ir.Graph, extremes: Extremes) -> list[str]:
    """Nodes that read or give a tensor of which nothing larger was seen. What a product sums, or a Relu hands on,
    is not looked at by itself.
    """
    found = []
    for node in graph:
        values = (*node.inputs, *node.outputs) if is_standard(node) else ()
        sizes = [observed_size(value, extremes.largest) for value in values if value is not None]
        if any(0 < size < _VANISHES for size in sizes):
            found.append(str(node.name))
    return found


def typed_by_rules(model: ir.Model, dtype: ir.DataType, extremes: Extremes, held: Held | None = None) -> HalfTyped:
    """A typed copy of ``model``; nothing is run."""
    copy, held = model.clone(), held or Held()
    scaling = ScaleProducts(extremes, held.fp32)
    scaled = scaling.apply(copy).notes if dtype == ir.DataType.FLOAT16 else ()
    typing = HalfPrecision(dtype, held.fp32, scaling.extremes, held.half)
    notes = (*scaled, *typing.apply(copy).notes)
    return HalfTyped(copy, typing.kept, notes, np.inf)


def _in_branches(graph: ir.Graph) -> Iterator[str]:
    """Every If, and what its branches compute apart from products: nothing in there can be looked at by itself."""
    for node in graph:
        if node.op_type == "If" and is_standard(node):
            yield str(node.name)
            for attribute in node.attributes.values():
                branch = attribute.as_graph()
                yield from (str(inner.name) for inner in branch if inner.op_type not in PRODUCTS)
                yield from _in_branches(branch)


_NEAR = 2
"""Nodes before: rounds that look no further back leave branches alone. Chosen."""
_CLEARLY = 0.5
"""A graph that is still not right is taken over another only for 3 dB. Chosen."""


def _sources(node: ir.Node, back: int, costs: Mapping[str, int], budget: float) -> list[ir.Node]:
    """Nodes that make the float operands of ``node``, up to ``back`` before it; products end the way unless they cost
    no more than ``budget`` multiply-accumulates together."""
    found: dict[ir.Node, None] = {}
    front = [node]
    for _ in range(back):
        ahead = []
        for current in front:
            for value in current.inputs:
                producer = value.producer() if value is not None and value.dtype in _FLOATS else None
                if producer is None or producer in found or producer.op_type == "DequantizeLinear":
                    continue
                cost = costs.get(str(producer.name), 0)
                if cost > budget or (producer.op_type in PRODUCTS and not budget):
                    continue
                budget -= cost
                found[producer] = None
                ahead.append(producer)
        front = ahead
    return list(found)


_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def answers(typed: ir.Model, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    """What ``typed`` computes on hardware, simulated."""
    twin = typed.clone()
    float_twin(twin)
    return simulated_outputs(twin, feeds)


def worst_noise(wanted: Answers, found: Answers) -> float:
    """Noise over signal of the worst float output; infinite where values are not finite that should be."""
    worst = 0.0
    for name in wanted[0] if wanted else ():
        signal = noise = 0.0
        for reference, answer in zip(wanted, found, strict=True):
            part = _noise_and_signal(reference[name], answer[name])
            noise, signal = noise + part[0], signal + part[1]
        worst = max(worst, noise / signal if signal else noise)
    return worst


def _noise_and_signal(wanted: Array, found: Array) -> tuple[float, float]:
    if wanted.dtype.kind not in "fV" and str(wanted.dtype) != "bfloat16":
        return 0.0, 0.0
    if wanted.shape != found.shape:  # detections: which ones there are depends on the data
        return 1.0, 1.0
    reference, answer = wanted.astype(np.float64), found.astype(np.float64)
    counts = np.isfinite(reference)
    if not np.isfinite(answer[counts]).all() or not np.array_equal(answer[~counts], reference[~counts], equal_nan=True):
        return np.inf, 1.0
    error = answer[counts] - reference[counts]
    return float(np.dot(error, error)), float(np.dot(reference[counts], reference[counts]))
