"""The high precision of a run: what everything that is not integer computes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.onnxruntime.graph import simulated_outputs
from graphs.reading.shapes import activation_bytes
from optimizer.attempt import attempt
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.settings.asked_plan import BY_THE_PLAN, AskedPlan
from optimizer.settings.options import Precision
from optimizer.simulation.extremes import FILL, Extremes, observe_extremes
from optimizer.typed.islands import HalfTyped, Held, IslandSearch, typed_by_rules, worst_noise

HIGH_DTYPE = dict.fromkeys(Precision, Dtype.FP16) | {Precision.FP32: Dtype.FP32, Precision.BF16: Dtype.BF16}
"""What everything that is not quantized computes in."""


def high_dtype(precision: Precision, model: ir.Model, asked: AskedPlan | None) -> Dtype:
    """What everything in ``model`` computes in that is not quantized: by ``precision``, or by a plan that was given."""
    usual = HIGH_DTYPE[precision]
    return usual if asked is None else asked.high_dtype(usual, sum(1 for _ in model.graph.all_nodes()))


HALF_OF = {Dtype.FP16: ir.DataType.FLOAT16, Dtype.BF16: ir.DataType.BFLOAT16}
OBSERVED_MACS = 2e11
"""Multiply-accumulates that watching the ranges of all activations may take: some ten seconds on two cores. Chosen."""
SEARCHED_MACS = 2e10
"""And of one run of the samples on which typed graphs are simulated. Chosen."""
JOINED = 8
"""Samples that run at once. Chosen."""
JOINED_BYTES = 64 << 20
"""Activations of those: all may be held until they are read, some of them three times. Chosen."""


@dataclass(frozen=True)
class Observed:
    """What a pass over the float graph has found; ``notes`` say why it found nothing, if it failed."""

    extremes: Extremes = field(default_factory=Extremes)
    notes: list[str] = field(default_factory=list)


@dataclass
class HighPrecision:
    """Types graphs in the high precision of ``precision``; the float graph is observed once for all of them.

    ``samples`` gives calibration feeds joined up to the number it is called with; ``costs`` are MACs per sample by
    node. ``observed``: what ``observe`` has found before, for the same graph and samples. ``asked`` is a plan that was
    given: what it names is in the precision it says, as far as rules let it be.
    """

    model: ir.Model
    precision: Precision
    samples: Callable[[int], Iterable[Feed]]
    costs: Mapping[str, int]
    observed: Observed | None = None
    asked: AskedPlan | None = None

    @cached_property
    def dtype(self) -> Dtype:
        return high_dtype(self.precision, self.model, self.asked)

    def type(
        self, model: ir.Model, plan: PrecisionPlan, table: CalibrationTable | None
    ) -> tuple[ir.Model, PrecisionPlan]:
        """``model`` with every float node that is not integer typed, and the plan as it came out.

        ``table`` holds the ranges of a quantized ``model``, None where it is the float graph. Nodes that lose their
        result in half precision stay FP32, and the plan says so. FP32 leaves the model alone.
        """
        if self.dtype is Dtype.FP32:
            return model, plan
        extremes = _with_table(self._observed.extremes, table)
        held = self._held(model, plan, extremes)
        typed, failed = None, list[str]()
        if not held.complete:
            search = partial(self._searched, model, extremes, table, held)
            typed, failed = attempt("search for what loses its result", search, typed)
        typed = typed or typed_by_rules(model, HALF_OF[self.dtype], extremes, held)
        return typed.model, PrecisionPlan(
            _with_islands(plan, typed, self.dtype), [*plan.notes, *self._observed.notes, *failed, *typed.notes]
        )

    def _searched(
        self, model: ir.Model, extremes: Extremes, table: CalibrationTable | None, held: Held
    ) -> HalfTyped | None:
        search = self._search
        noise = worst_noise(search.wanted, simulated_outputs(model, search.feeds)) if table else 0.0
        return search.type(model, extremes, noise, held)

    def _held(self, model: ir.Model, plan: PrecisionPlan, extremes: Extremes) -> Held:
        """What the plan that was given settles of ``plan``: not what rules leave in FP32 anyway, for their own reasons;
        nodes in int8 are settled, too.
        """
        if self.asked is None:
            return Held()
        asked = self.asked.within({name: node.op_type for name, node in plan.nodes.items()}).nodes
        half = frozenset(name for name, node in asked.items() if node.dtype is not Dtype.FP32)
        wide = {name: BY_THE_PLAN for name, node in asked.items() if node.dtype is Dtype.FP32}
        if HIGH_DTYPE[self.precision] is Dtype.FP32:
            reason = f"asked for with --precision {self.precision.value}"
            wide |= {name: reason for name in plan.nodes if name not in asked}
        ruled = typed_by_rules(model, HALF_OF[self.dtype], extremes, Held({}, half)).kept if wide else {}
        complete = plan.nodes.keys() <= wide.keys() | half
        return Held({name: why for name, why in wide.items() if name not in ruled}, half, complete)

    def observe(self) -> Observed:
        """How far every activation of the float graph reaches, where that matters: one pass over as many samples as
        ``OBSERVED_MACS`` pay for. It reads neither a plan nor which half precision was asked for.
        """
        if self.dtype is not Dtype.FP16:
            return Observed()
        feeds = islice(self.samples(self._joined), self._runs(OBSERVED_MACS))
        found, notes = attempt("ranges of all activations", lambda: observe_extremes(self.model, feeds), Extremes())
        return Observed(found, notes)

    @cached_property
    def _observed(self) -> Observed:
        return self.observed or self.observe()

    @cached_property
    def _search(self) -> IslandSearch:
        feeds = list(islice(self.samples(self._joined), min(2, self._runs(SEARCHED_MACS))))
        return IslandSearch(HALF_OF[self.dtype], feeds, simulated_outputs(self.model, feeds), self.costs)

    @property
    def _joined(self) -> int:
        fit = JOINED_BYTES // max(activation_bytes(self.model), 1)
        return int(max(min(SEARCHED_MACS / self._macs, JOINED, fit), 1))

    @property
    def _macs(self) -> int:
        return max(sum(self.costs.values()), 1)

    def _runs(self, macs: float) -> int:
        return max(int(macs / self._macs / self._joined), 1)


def _with_table(observed: Extremes, table: CalibrationTable | None) -> Extremes:
    """``observed``, and what quantization has observed since on the graph it has rewritten."""
    tensors = table.tensors if table else {}
    sizes = {name: max(abs(found.minimum), abs(found.maximum)) for name, found in tensors.items()}
    numbers = {
        name: size for name, size in sizes.items() if np.isfinite(size) and size < FILL and name not in observed.fills
    }
    return replace(observed, largest={**observed.largest, **numbers})


def _with_islands(plan: PrecisionPlan, typed: HalfTyped, half: Dtype) -> dict[str, NodePrecision]:
    """``plan`` with what stayed FP32, and the rest in ``half``; what is quantized is left as it is."""

    def described(name: str, node: NodePrecision) -> NodePrecision:
        if node.dtype.quantized:
            return node
        if name in typed.kept:
            return replace(node, dtype=Dtype.FP32, reason=typed.kept[name])
        return replace(node, dtype=half)

    return {name: described(name, node) for name, node in plan.nodes.items()}
