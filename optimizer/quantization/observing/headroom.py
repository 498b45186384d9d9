"""How far raw inputs may reach beyond what calibration saw of them.

Pixels and normalised audio end where every sample ends. Features of a table (counts, logarithms, ages) do not: each
new user brings a larger one, and a clipped feature is a wrong one. How an extreme grows with the number of samples is
seen in the samples themselves: if it grew by a factor from an eighth of them to all, then on a tail of any power law
eight times as many again would carry it that factor further.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import CalibrationTable, TensorRange
from engines.engine import Feed
from graphs.reading.constants import constant_tensor
from graphs.writing.edits import values_by_name
from optimizer.quantization.observing.capture import Reach
from optimizer.quantization.rules.commuting import origin

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
Ends: TypeAlias = NDArray[np.float64]
"""Least and largest value of each sample: [samples, 2]."""
BLOCKS = 8
"""Parts of the samples whose ends are compared with those of all: an eighth stands for few samples. Chosen."""
SETTLED = 1.3
"""Growth below which an input counts as settled: that of a normal variable from a hundred values to ten thousand is
1.5, from ten thousand to a million 1.26, and what such tails clip is rare and small. Chosen."""
MOST = 2.0
"""One bit of the input's resolution at most is spent. Chosen."""
ALIKE = 0.5
"""Least ratio of the nearer end's magnitude to the farther one's at which both may be ends of one symmetric
distribution: as many steps as that are lost to an input of which it is not true, a quarter at most."""
REACHED, OFTEN = 0.01, 0.25
"""An end that this part of the samples comes this near to, relative to the range, is a bound (black, silence).
Chosen."""
TOLD = 55_000
"""Values of a tensor, in all samples, from which on they tell where clipping pays: range methods clip one in ten
thousand. On eight samples Fashion's tensors of 50 thousand values gain by room (3 dB at the output), MobileNetV2's of
63 thousand lose by it (2 dB). Chosen."""


@dataclass(frozen=True, eq=False)
class RawInput:
    """A graph input, or that times ``factor``, which broadcasts to it: the tensor ``scaled``."""

    name: str
    scaled: str = ""
    factor: NDArray[np.float64] | None = None

    @property
    def label(self) -> str:
        return self.scaled or self.name

    def of(self, feed: Feed) -> NDArray[Any]:
        values = feed[self.name]
        return values if self.factor is None else values * self.factor


def ends(samples: Iterable[Feed], inputs: Iterable[RawInput]) -> dict[str, Ends]:
    """Where each sample of each of ``inputs`` ends, by label; zero for an empty one."""
    seen: dict[str, list[tuple[float, float]]] = {}
    by_label = {raw.label: raw for raw in inputs}
    for feed in samples:
        for label, raw in by_label.items():
            values = raw.of(feed)
            found = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
            seen.setdefault(label, []).append(found)
    return {label: np.array(seen.get(label, []), np.float64).reshape(-1, 2) for label in by_label}


def growth(found: Mapping[str, Ends]) -> dict[str, float]:
    """By what factor the largest magnitude of each input grew from a typical eighth of the samples to all.

    1 where it is settled, or where there are fewer than two samples for each eighth.
    """
    return {name: _growth(np.abs(each).max(axis=1, initial=0.0)) for name, each in found.items()}


def _growth(tops: NDArray[np.float64]) -> float:
    if len(tops) < 2 * BLOCKS:
        return 1.0
    typical = float(np.median([block.max() for block in np.array_split(tops, BLOCKS)]))
    found = min(float(tops.max()) / typical, MOST) if typical > 0 else MOST
    return found if found >= SETTLED else 1.0


def mirrored(found: Mapping[str, Ends]) -> frozenset[str]:
    """Inputs with two open ends that are alike: the nearer one is as far away as the farther, and merely was not met.

    Of noise in eight samples one end may lie a third nearer than the other; what comes later and reaches it would be
    clipped by a range that is not symmetric.
    """
    return frozenset(name for name, each in found.items() if len(each) and _mirrored(each))


def _mirrored(each: Ends) -> bool:
    low, high = float(each[:, 0].min()), float(each[:, 1].max())
    if not low < 0 < high or min(-low, high) < ALIKE * max(-low, high):
        return False
    near, end = (each[:, 0], low) if -low < high else (each[:, 1], high)
    return bool((np.abs(near - end) <= REACHED * (high - low)).sum() <= max(OFTEN * len(each), 1))


def roomier(table: CalibrationTable, reached: Mapping[str, Reach]) -> CalibrationTable:
    """``table`` of few samples with room for what they did not show: ends move out by how much they vary (a standard
    deviation) from sample to sample.

    Both ends of an asymmetric range lie where the few samples ended; of a symmetric one only the farther, which needs
    that room only where few values were seen. Such tensors are not clipped either, and of two ends that are alike both
    lie where the farther does. An end that is the same in all samples, as of a ReLU or a saturated sigmoid, stays, and
    so does one that many of them reach.
    """
    ranges = {name: _with_room(table.tensors[name], found) for name, found in reached.items() if name in table.tensors}
    return replace(table, tensors={**table.tensors, **ranges})


def sparse(reached: Mapping[str, Reach]) -> frozenset[str]:
    """The tensors of which too few values were seen for a method to tell where clipping pays."""
    return frozenset(name for name, found in reached.items() if found.values < TOLD)


def _with_room(found: TensorRange, reached: Reach) -> TensorRange:
    if not reached.values or len(reached.ends) < 2:
        return found
    lows, highs = reached.ends.T
    if reached.values < TOLD:
        amax, low, high = max(found.amax, -found.minimum, found.maximum), found.minimum, found.maximum
        found = replace(found, amax=amax, low=min(found.low, low), high=max(found.high, high))
        found = replace(found, amax=found.amax + _room(np.maximum(-lows, highs)))
        if _mirrored(reached.ends):
            return replace(found, low=-found.amax, high=found.amax)
    low = found.low - _room(-lows) if found.low < 0 else found.low
    return replace(found, low=low, high=found.high + _room(highs) if found.high > 0 else found.high)


def _room(tops: NDArray[np.float64]) -> float:
    """How much they vary; nothing where the largest is a bound that many reach."""
    near = tops >= tops.max() - REACHED * abs(tops.max())
    return 0.0 if near.sum() > max(OFTEN * len(tops), 1) else float(tops.std(ddof=1))


def raw_inputs(model: ir.Model, tensors: Iterable[str]) -> dict[str, RawInput]:
    """Tensor -> the float graph input whose numbers it holds, merely moved, or in other units channel by channel; those
    that hold none's are left out.
    """
    values = values_by_name(model.graph)
    found = {name: _raw(values[name]) for name in tensors if name in values}
    return {name: raw for name, raw in found.items() if raw is not None}


def _raw(value: ir.Value) -> RawInput | None:
    """Where the values come from: moved, cast from one float type to another, and multiplied by channels before."""
    source = origin(value)
    producer = source.producer()
    if producer is None:
        return RawInput(str(source.name)) if _is_float_input(source) else None
    if _is_float_cast(producer):
        return _raw(_data(producer))
    if producer.op_type != "Mul":
        return None
    for data, factor in (producer.inputs, producer.inputs[::-1]):
        by = _by_channels(factor)
        while by is not None and data is not None and (made := data.producer()) is not None and _is_float_cast(made):
            data = made.inputs[0]
        if by is not None and data is not None and _is_float_input(data):
            return RawInput(str(data.name), str(source.name), by)
    return None


def _by_channels(factor: ir.Value | None) -> NDArray[np.float64] | None:
    """A constant of several elements along one axis."""
    tensor = constant_tensor(factor)
    if tensor is None or tensor.size < 2 or max(tensor.shape.numpy()) != tensor.size:
        return None
    return tensor.numpy().astype(np.float64)


def _is_float_cast(node: ir.Node) -> bool:
    return node.op_type == "Cast" and _data(node).dtype in _FLOATS


def _data(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _is_float_input(value: ir.Value) -> bool:
    return value.is_graph_input() and value.dtype in _FLOATS


def unclipped(
    table: CalibrationTable, sources: Mapping[str, RawInput], grown: Mapping[str, float], alike: Collection[str] = ()
) -> CalibrationTable:
    """``table`` with raw inputs at their observed extremes times what they are expected to grow by.

    ``sources`` is the raw input behind a tensor, ``grown`` its factor by label, ``alike`` holds the ``mirrored`` ones.
    """
    ranges = {
        name: _stretched(table.tensors[name], grown[raw.label], raw.label in alike) for name, raw in sources.items()
    }
    return replace(table, tensors={**table.tensors, **ranges})


def _stretched(found: TensorRange, factor: float, alike: bool) -> TensorRange:
    """Both ends at the larger magnitude where it still grows (which column of a table grows next is not known), or
    where they are ends of one symmetric distribution.
    """
    top = max(abs(found.minimum), abs(found.maximum)) * factor
    if factor == 1.0 and not alike:
        return replace(found, low=found.minimum, high=found.maximum, amax=top, method="minmax (graph input)")
    low, high = (-top if found.minimum < 0 else 0.0), (top if found.maximum > 0 else 0.0)
    how = f"minmax (graph input) times {factor:.2f}" if factor > 1 else "minmax (graph input, ends alike)"
    return replace(found, low=low, high=high, amax=top, method=how)
