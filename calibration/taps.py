"""A model cut open: the activations to observe become its only outputs.

Small activations are read where the runtime left them. Large ones are reduced inside the runtime to their extremes,
sum and an evenly spaced share of their values, so that they are freed as early as in plain inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibration.plan import TensorKind
from calibration.statistics import ChannelStatistics, JoinedNeeds
from calibration.summary import STEP_SHIFT, STEPS, NonFinite, Observation, check_finite, observe
from engines.engine import Array
from graphs.cutting.taps import Taps
from graphs.writing.edits import values_by_name

_EVERY_AXIS = -1  # key of the reductions over the whole tensor
_END = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class FetchedTap:
    """Reads the activation itself, from the outputs or, for a graph input, from the feed."""

    needs: JoinedNeeds

    def read(self, values: Mapping[str, Array]) -> Observation | None:
        return observe(values[self.needs.tensor], self.needs)


@dataclass(frozen=True)
class ReducedTap:
    """Reads what the runtime left of the activation: ``reductions`` maps a channel axis to (min, max, sum) outputs."""

    needs: JoinedNeeds
    size: str
    reductions: Mapping[int, tuple[str, str, str]]
    sampled: str | None

    def read(self, values: Mapping[str, Array]) -> Observation | None:
        count = int(values[self.size])
        if not count:
            return None
        parts = [[values[name] for name in names] for names in self.reductions.values()]
        low, high = float(parts[0][0].min()), float(parts[0][1].max())
        check_finite(self.needs.tensor, low, high)
        # The runtime's min and max may pass over NaN, its sum does not; it overflows only on values no range can hold.
        if not all(np.isfinite(total).all() for _, _, total in parts):
            raise NonFinite(self.needs.tensor, "NaN, infinity or values whose sum is beyond float32")
        channels = {
            axis: ChannelStatistics(least.astype(float), most.astype(float), total.astype(float), count // least.size)
            for axis, (least, most, total) in zip(self.reductions, parts, strict=True)
            if axis in self.needs.channel_axes
        }
        return Observation(count, low, high, None if self.sampled is None else values[self.sampled], channels)


Tap = FetchedTap | ReducedTap


def add_taps(model: ir.Model, needs: Sequence[JoinedNeeds], reduced: Mapping[str, TensorKind]) -> list[Tap]:
    """Replace the outputs of ``model`` by what ``needs`` asks for; tensors named in ``reduced`` are reduced inside.

    ``model`` is changed in place and must be at opset 13 or later where ``reduced`` is not empty.
    """
    taps = Taps[tuple[str, str]](model)
    values = values_by_name(model.graph)
    for need in needs:
        value = values[need.tensor]
        if need.tensor in reduced:
            _reduce(taps, need, value, reduced[need.tensor])
        elif not value.is_graph_input():
            taps.keep((need.tensor, _WHOLE), value)
    names = taps.cut()
    return [_reduced(need, names) if need.tensor in reduced else FetchedTap(need) for need in needs]


_WHOLE, _SIZE, _SAMPLED = "whole", "size", "sampled"
_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")


def _axes(needs: JoinedNeeds) -> tuple[int, ...]:
    return needs.channel_axes or (_EVERY_AXIS,)


def _reduce(taps: Taps[tuple[str, str]], needs: JoinedNeeds, value: ir.Value, kind: TensorKind) -> None:
    """Keep the size of ``value``, its extremes and sums, and the share of its values that the histogram counts."""
    rank, size = len(kind.shape), taps.size(value)
    taps.keep((needs.tensor, _SIZE), size)
    if kind.dtype != ir.DataType.FLOAT:
        value = taps.do("Cast", value, to=ir.DataType.FLOAT.value)
    for axis in _axes(needs):
        others = [a for a in range(rank) if a != axis % rank] if needs.channel_axes else []
        for op in _REDUCTIONS:
            taps.keep((needs.tensor, f"{op} {axis}"), taps.reduced(op, value, others))
    if needs.histogram:
        taps.keep((needs.tensor, _SAMPLED), _sampled(taps, value, size))


def _sampled(taps: Taps[tuple[str, str]], value: ir.Value, size: ir.Value) -> ir.Value:
    """Every ``sampling_step(size)``-th value of the flattened tensor."""
    flat, start, integers = taps.integers([-1]), taps.integers([0]), ir.DataType.INT64
    band = taps.do("Div", size, taps.integers(1 << STEP_SHIFT), dtype=integers)
    band = taps.do("Min", band, taps.integers(len(STEPS) - 1), dtype=integers)
    step = taps.do("Gather", taps.integers(list(STEPS)), band, dtype=integers)
    step = taps.do("Reshape", step, flat, dtype=integers)
    return taps.do("Slice", taps.do("Reshape", value, flat), start, taps.integers([_END]), start, step)


def _reduced(needs: JoinedNeeds, names: Mapping[tuple[str, str], str]) -> ReducedTap:
    tensor = needs.tensor
    reductions = {}
    for axis in _axes(needs):
        low, high, total = (names[tensor, f"{op} {axis}"] for op in _REDUCTIONS)
        reductions[axis] = (low, high, total)
    return ReducedTap(needs, names[tensor, _SIZE], reductions, names.get((tensor, _SAMPLED)))
