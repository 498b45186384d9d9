"""A model cut open: the activations to observe become its only outputs.

Small activations are read where the runtime left them. Large ones are reduced inside the runtime to their extremes,
sum and an evenly spaced share of their values, so that they are freed as early as in plain inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from calibration.statistics import ChannelStatistics, JoinedNeeds
from calibration.summary import STEP_SHIFT, STEPS, NonFinite, Observation, check_finite, observe
from engines.engine import Array

_PREFIX = "calibration_tap"
_EVERY_AXIS = -1  # key of the reductions over the whole tensor
_END = np.iinfo(np.int64).max
REDUCIBLE_OPSET = 13


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


@dataclass
class _Tapper:
    """Adds reductions of one activation to a graph."""

    graph: onnx.GraphProto
    opset: int
    outputs: list[str] = field(default_factory=list)

    def constant(self, name: str, values: Array) -> str:
        self.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.graph.node.append(onnx.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def reduce(self, op: str, tensor: str, output: str, axes: list[int]) -> str:
        self.outputs.append(output)
        if not axes:
            return self.node(op, [tensor], output, keepdims=0)
        if self.opset >= 18 or op == "ReduceSum":
            axes_input = self.constant(f"{output}_axes", np.array(axes, np.int64))
            return self.node(op, [tensor, axes_input], output, keepdims=0)
        return self.node(op, [tensor], output, keepdims=0, axes=axes)

    def size(self, tensor: str, stem: str) -> str:
        self.outputs.append(f"{stem}_size")
        return self.node("Size", [tensor], f"{stem}_size")

    def sample(self, tensor: str, size: str, stem: str) -> str:
        """Every ``sampling_step(size)``-th value of the flattened tensor."""
        const = {
            "flat": [-1],
            "shift": 1 << STEP_SHIFT,
            "last": len(STEPS) - 1,
            "steps": list(STEPS),
            "start": [0],
            "end": [_END],
        }
        names = {key: self.constant(f"{stem}_{key}", np.array(value, np.int64)) for key, value in const.items()}
        flat = self.node("Reshape", [tensor, names["flat"]], f"{stem}_flattened")
        band = self.node("Div", [size, names["shift"]], f"{stem}_band")
        band = self.node("Min", [band, names["last"]], f"{stem}_bounded_band")
        step = self.node("Gather", [names["steps"], band], f"{stem}_step")
        step = self.node("Reshape", [step, names["flat"]], f"{stem}_step_vector")
        self.outputs.append(f"{stem}_sampled")
        inputs = [flat, names["start"], names["end"], names["start"], step]
        return self.node("Slice", inputs, f"{stem}_sampled")


def _reduced(tapper: _Tapper, needs: JoinedNeeds, stem: str, rank: int, element_type: int) -> ReducedTap:
    tensor = needs.tensor
    if element_type != onnx.TensorProto.FLOAT:
        tensor = tapper.node("Cast", [tensor], f"{stem}_float", to=onnx.TensorProto.FLOAT)
    size = tapper.size(tensor, stem)
    reductions: dict[int, tuple[str, str, str]] = {}
    for axis in needs.channel_axes or (_EVERY_AXIS,):
        axes = [a for a in range(rank) if a != axis % rank] if needs.channel_axes else []
        low, high, total = (
            tapper.reduce(op, tensor, f"{stem}_{op}_{axis % max(rank, 1)}", axes)
            for op in ("ReduceMin", "ReduceMax", "ReduceSum")
        )
        reductions[axis] = (low, high, total)
    sampled = tapper.sample(tensor, size, stem) if needs.histogram else None
    return ReducedTap(needs, size, reductions, sampled)


@dataclass(frozen=True)
class TensorKind:
    """What shape inference found of an activation for the sample at hand."""

    element_type: int
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        width = onnx.helper.tensor_dtype_to_np_dtype(self.element_type).itemsize
        return int(np.prod(self.shape, dtype=np.int64)) * width


def add_taps(model: onnx.ModelProto, needs: list[JoinedNeeds], reduced: Mapping[str, TensorKind]) -> list[Tap]:
    """Replace the outputs of ``model`` by what ``needs`` asks for; tensors named in ``reduced`` are reduced inside.

    ``model`` is changed in place and must be at opset 13 or later where ``reduced`` is not empty.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    tapper = _Tapper(model.graph, opset)
    inputs = {value.name for value in model.graph.input}
    taps: list[Tap] = []
    for position, need in enumerate(needs):
        if kind := reduced.get(need.tensor):
            stem = f"{_PREFIX}{position}"
            taps.append(_reduced(tapper, need, stem, len(kind.shape), kind.element_type))
            continue
        taps.append(FetchedTap(need))
        if need.tensor not in inputs:
            tapper.outputs.append(need.tensor)
    del model.graph.output[:]
    # A bare name: the runtime infers type and shape, which no declaration here could contradict.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tapper.outputs)
    return taps
