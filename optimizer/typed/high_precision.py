"""The high precision of a run: what everything that is not integer computes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.onnxruntime.graph import simulated_outputs
from graphs.shapes import activation_bytes
from optimizer.attempt import attempt
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.settings import Precision
from optimizer.simulation.extremes import FILL, Extremes, observe_extremes
from optimizer.typed.islands import HalfTyped, IslandSearch, typed_by_rules, worst_noise

HIGH_DTYPE = {
    Precision.FP32: Dtype.FP32,
    Precision.FP16: Dtype.FP16,
    Precision.BF16: Dtype.BF16,
    Precision.INT8: Dtype.FP16,
    Precision.AUTO: Dtype.FP16,
}
HALF_OF = {Dtype.FP16: ir.DataType.FLOAT16, Dtype.BF16: ir.DataType.BFLOAT16}
OBSERVED_MACS = 2e11
"""Multiply-accumulates that watching the ranges of all activations may take: some ten seconds on two cores."""
SEARCHED_MACS = 2e10
"""And of one run of the samples on which typed graphs are simulated."""
JOINED = 8
"""Samples that run at once."""
JOINED_BYTES = 64 << 20
"""Activations of those: all may be held until they are read, some of them three times."""


@dataclass(frozen=True)
class Observed:
    """What a pass over the float graph has found; ``notes`` say why it found nothing, if it failed."""

    extremes: Extremes = field(default_factory=Extremes)
    notes: list[str] = field(default_factory=list)


@dataclass
class HighPrecision:
    """Types graphs in the high precision of ``precision``; the float graph is observed once for all of them.

    ``samples`` gives calibration feeds joined up to the number it is called with; ``costs`` are MACs per sample by
    node. ``observed``: what ``observe`` has found before, for the same graph and samples.
    """

    model: ir.Model
    precision: Precision
    samples: Callable[[int], Iterable[Feed]]
    costs: Mapping[str, int]
    observed: Observed | None = None

    @property
    def dtype(self) -> Dtype:
        return HIGH_DTYPE[self.precision]

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
        typed, failed = attempt(
            "search for what loses its result", lambda: self._searched(model, extremes, table), None
        )
        typed = typed or typed_by_rules(model, HALF_OF[self.dtype], extremes)
        return typed.model, PrecisionPlan(
            _with_islands(plan, typed), [*plan.notes, *self._observed.notes, *failed, *typed.notes]
        )

    def _searched(self, model: ir.Model, extremes: Extremes, table: CalibrationTable | None) -> HalfTyped | None:
        search = self._search
        noise = worst_noise(search.wanted, simulated_outputs(model, search.feeds)) if table else 0.0
        return search.type(model, extremes, noise)

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


def _with_islands(plan: PrecisionPlan, typed: HalfTyped) -> dict[str, NodePrecision]:
    return {
        name: replace(node, dtype=Dtype.FP32, reason=typed.kept[name])
        if name in typed.kept and node.dtype is not Dtype.INT8
        else node
        for name, node in plan.nodes.items()
    }
