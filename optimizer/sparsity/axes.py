"""Which axes of which tensors count the same channels: what has to be permuted together for a graph to stay as it is.

Every axis of every tensor, weights included, is one item; each operator joins those of its operands and results that
run side by side (a residual Add both of its inputs, a depthwise convolution its channels in and out, a matrix product
the data's last axis and the weight's first). Where an operator looks at *which* channel stands where (a Reshape into
attention heads, a Concat, a slice), and at the graph's own inputs and outputs, the axis is *fixed*, with the reason.
Axes that come out joined and not fixed can be reordered by reordering constants alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import onnx_ir as ir

from graphs.reading.constants import constant_tensor

Axis: TypeAlias = "tuple[ir.Value, int]"
"""A tensor and one of its axes, counted from the front."""


@dataclass
class Axes:
    """Sets of joined axes, and why some of them are fixed."""

    _parent: dict[Axis, Axis] = field(default_factory=dict)
    _fixed: dict[Axis, str] = field(default_factory=dict)

    def root(self, axis: Axis) -> Axis:
        """The axis that stands for all that ``axis`` is joined with."""
        self._parent.setdefault(axis, axis)
        while (above := self._parent[axis]) != axis:
            self._parent[axis] = self._parent[above]
            axis = self._parent[axis]
        return axis

    def join(self, first: Axis, second: Axis) -> None:
        first, second = self.root(first), self.root(second)
        if first == second:
            return
        self._parent[second] = first
        if (reason := self._fixed.pop(second, "")) and first not in self._fixed:
            self._fixed[first] = reason

    def fix(self, axis: Axis, reason: str) -> None:
        self._fixed.setdefault(self.root(axis), reason)

    def fix_all(self, value: ir.Value | None, reason: str) -> None:
        """Every axis of a tensor; of unknown rank, as many as any has."""
        if value is not None:
            rank = rank_of(value)
            for axis in range(_MOST_AXES if rank is None else rank):
                self.fix((value, axis), reason)

    def fixed(self, axis: Axis) -> str:
        """Why ``axis`` cannot be reordered; empty where it can."""
        return self._fixed.get(self.root(axis), "")

    def sets(self) -> dict[Axis, list[Axis]]:
        """All joined axes, by the one that stands for them."""
        found: dict[Axis, list[Axis]] = {}
        for axis in list(self._parent):
            found.setdefault(self.root(axis), []).append(axis)
        return found


_MOST_AXES = 8  # nvinfer1::Dims::MAX_DIMS


def rank_of(value: ir.Value) -> int | None:
    """The number of axes where it is known."""
    if value.shape is not None:
        return len(value.shape)
    tensor = constant_tensor(value)
    return None if tensor is None else len(tensor.shape)


def size_of(axis: Axis) -> int | None:
    """How long an axis is where that is known."""
    value, index = axis
    shape = value.shape if value.shape is not None else getattr(constant_tensor(value), "shape", None)
    if shape is None or index >= len(shape):
        return None
    size = shape[index]
    return size if isinstance(size, int) else None


def same_run(first: ir.Value, second: ir.Value, axis: int) -> int | None:
    """Which axis of ``second`` runs over the same elements as ``axis`` of ``first``, both of one layout in memory
    (Reshape, Flatten): it has the same length, and what stands behind it, or before it, is as many. None: no axis does.
    """
    before, after = _sizes(first), _sizes(second)
    size = before[axis]
    if size is None:
        return None
    behind = _product(before[axis + 1 :])
    for index, other in enumerate(after):
        if other == size and behind is not None and _product(after[index + 1 :]) == behind:
            return index
    ahead = _product(before[:axis])
    for index, other in enumerate(after):
        if other == size and ahead is not None and _product(after[:index]) == ahead:
            return index
    return None


def _sizes(value: ir.Value) -> list[int | None]:
    shape = value.shape if value.shape is not None else getattr(constant_tensor(value), "shape", None)
    return [size if isinstance(size, int) else None for size in shape or ()]


def _product(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return prod(known) if len(known) == len(sizes) else None
