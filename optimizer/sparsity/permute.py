"""Channels reordered across the graph so that 2:4 pruning takes less away; the dense model stays what it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, constant_tensor
from graphs.reading.number_types import Floats
from graphs.writing.edits import GraphEdits, drop_if_unread
from graphs.writing.lazy_tensors import lazily
from optimizer.quantization.codes.weights import as_float32
from optimizer.sparsity.axes import Axis, size_of
from optimizer.sparsity.eligible import SparseWeight, survey
from optimizer.sparsity.joined_axes import joined_axes
from optimizer.sparsity.permutation import Order, best_order

WORTH = 0.98
"""Share of the loss that may remain for an order to be taken; chosen."""


@dataclass(frozen=True)
class ChannelSet:
    """Channels that go together: ``constants`` are the axes of weights that they run along, ``prunes`` those weights
    that are pruned along them, the first of which names the set; ``data`` is the activation that it reads. ``fixed``
    says why their order is given.
    """

    data: str
    constants: tuple[Axis, ...]
    prunes: tuple[SparseWeight, ...]
    fixed: str

    @property
    def name(self) -> str:
        return self.prunes[0].name


def channel_sets(model: ir.Model, weights: Sequence[SparseWeight]) -> list[ChannelSet]:
    """Every set of channels that a prunable weight of ``weights`` is pruned along, in the order of the graph."""
    axes = joined_axes(model)
    members = axes.sets()
    readers: dict[Axis, list[SparseWeight]] = {}
    for weight in weights:
        value = weight.nodes[0].inputs[1]
        if value is not None and len(weight.shape) >= 2 and (weight.prunable or weight.given):
            readers.setdefault(axes.root((value, weight.axis)), []).append(weight)
    found = []
    for root, reading in readers.items():
        constants = tuple(axis for axis in members[root] if constant_tensor(axis[0]) is not None)
        reason = axes.fixed(root)
        if given := [weight.name for weight in reading if weight.given]:
            reason = reason or f"{given[0]} is 2:4 as it comes"
        data = reading[0].nodes[0].inputs[0]
        prunes = tuple(weight for weight in reading if weight.prunable)
        if any(size_of(axis) != reading[0].shape[reading[0].axis] for axis in constants):
            reason = reason or "its channels meet others of another number"
        if prunes:
            found.append(ChannelSet(str(data.name if data is not None else ""), constants, prunes, reason))
    return found


class PermuteChannels:
    """An ``ExactRewrite``: every set of channels brought into the order in which pruning loses least.

    ``power`` gives mean squares of activations by channel, name -> [channels], where they are known: a weight then
    counts by what it adds to the output, else by its own square.
    """

    def __init__(self, power: Mapping[str, Floats] | None = None) -> None:
        self._power, self._orders = power or {}, dict[str, Order]()

    def apply(self, model: ir.Model) -> dict[str, str]:
        notes: dict[str, str] = {}
        for place in channel_sets(model, survey(model)):
            if place.fixed:
                continue
            order, before, after = best_order(self._importance(place))
            if after < WORTH * before:
                self._orders[place.name] = order
                notes[place.name] = (
                    f"{place.name}: input channels reordered: 2:4 takes {after:.1%} of what counts, not {before:.1%}"
                )
                _reorder(model, place, order)
        return notes

    def redo(self, model: ir.Model, places: Collection[str]) -> None:
        for place in channel_sets(model, survey(model)):
            if place.name in places:
                _reorder(model, place, self._orders[place.name])

    def _importance(self, place: ChannelSet) -> Floats:
        """[rows, channels]: squares of every weight that is pruned along them, in shares of each weight's own sum."""
        power = self._power.get(place.data)
        parts = []
        for weight in place.prunes:
            tensor = constant_tensor(weight.nodes[0].inputs[1])
            assert tensor is not None
            rows = np.square(np.moveaxis(as_float32(tensor), weight.axis, -1).reshape(-1, weight.shape[weight.axis]))
            rows = rows if power is None else rows * power
            parts.append(rows / max(float(rows.sum()), 1e-30))
        return np.concatenate(parts)


def _reorder(model: ir.Model, place: ChannelSet, order: Order) -> None:
    axes: dict[ir.Value, list[int]] = {}
    for value, axis in place.constants:
        axes.setdefault(value, []).append(axis)
    edits = GraphEdits(model.graph)
    for value, along in axes.items():
        tensor = constant_tensor(value)
        assert tensor is not None
        reordered = _reordered(tensor, along, order)
        if value.is_initializer():
            value.const_value = reordered
        else:
            value.replace_all_uses_with(edits.initializer(reordered))
            drop_if_unread(model.graph, value)


def _reordered(tensor: ir.TensorProtocol, along: Sequence[int], order: Order) -> ir.TensorProtocol:
    """Computed when it is read."""

    def taken(array: Array) -> Array:
        for axis in along:
            array = np.take(array, order, axis=axis)
        return array

    return lazily(taken, tensor, tensor.name)
