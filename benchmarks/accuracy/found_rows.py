"""Outputs whose number of rows depends on the data, as detections do: rows are found again, not counted off.

A score that rounds to the other side of a threshold adds or drops one row and moves all that follow. Compared place by
place nothing would be equal; so rows that are each other's nearest are paired, again and again among those left. A row
without a partner stands against zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array, TensorSpec

Rows = NDArray[np.float64]
Shape = tuple[int, ...]

LARGEST_ASSIGNMENT = 4_000_000
"""Pairs of rows up to which partners are looked for: a table of 32 MB of distances. Chosen."""
NEAR = 0.01
"""A row is found again where no value moved by more than this share of the reference's range. Chosen."""


@dataclass(frozen=True)
class FoundRows:
    """Rows of both sides [pairs, values], zeros where one has no partner; how many were ``found`` again."""

    reference: Rows
    candidate: Rows
    found: int


def open_axes(spec: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[int, ...]:
    """Axes of an output that may be as long as the data wants: dynamic, of a symbol that no input has."""
    symbols = {dim for given in inputs for dim in given.shape if isinstance(dim, str)} - {"?"}
    return tuple(
        a for a, dim in enumerate(spec.shape) if isinstance(dim, str) and dim not in symbols and not spec.batch
    )


def row_axis(first: Shape, second: Shape, allowed: Sequence[int]) -> int | None:
    """The one axis in which two shapes differ, where it is one of ``allowed``."""
    if len(first) != len(second):
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    return axes[0] if len(axes) == 1 and axes[0] in allowed else None


def depends_on_data(shapes: Iterable[tuple[tuple[Shape, ...], Shape]], axis: int) -> bool:
    """Whether one set of input shapes gave outputs of several lengths: pairs (input shapes, output shape)."""
    seen: dict[tuple[Shape, ...], int] = {}
    return any(seen.setdefault(given, shape[axis]) != shape[axis] for given, shape in shapes)


def find_rows(reference: Array, candidate: Array, axis: int) -> FoundRows | None:
    """Pair the rows along ``axis``; None where there are too many, or the arrays hold no numbers."""
    if reference.dtype.kind not in "fiub" or reference.shape[axis] * candidate.shape[axis] > LARGEST_ASSIGNMENT:
        return None
    r, c = _rows(reference, axis), _rows(candidate, axis)
    squares = (r**2).sum(1)[:, None] + (c**2).sum(1)[None] - 2 * r @ c.T
    first, second = _partners(np.where(np.isfinite(squares), squares, np.finfo(np.float64).max))
    lone_r = np.setdiff1d(np.arange(len(r)), first)
    lone_c = np.setdiff1d(np.arange(len(c)), second)
    left = np.concatenate([r[first], r[lone_r], np.zeros((len(lone_c), r.shape[1]))])
    right = np.concatenate([c[second], np.zeros((len(lone_r), r.shape[1])), c[lone_c]])
    limit = 0.0 if reference.dtype.kind != "f" else NEAR * float(np.ptp(r)) if r.size else 0.0
    near = np.abs(r[first] - c[second]).max(axis=1, initial=0.0) <= limit
    return FoundRows(left, right, int(near.sum()))


def _rows(array: Array, axis: int) -> Rows:
    moved = np.moveaxis(array.astype(np.float64), axis, 0)
    return moved.reshape(len(moved), -1) if len(moved) else np.zeros((0, int(np.prod(moved.shape[1:]))))


def _partners(distances: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (rows, columns) of a table of distances: nearest to each other among those that have no partner yet."""
    rows, columns = np.arange(distances.shape[0]), np.arange(distances.shape[1])
    pairs: list[NDArray[np.int64]] = []
    while len(rows) and len(columns):
        left = distances[np.ix_(rows, columns)]
        nearest, back = left.argmin(axis=1), left.argmin(axis=0)
        mutual = np.flatnonzero(back[nearest] == np.arange(len(rows)))
        pairs.append(np.stack([rows[mutual], columns[nearest[mutual]]]))
        rows, columns = np.delete(rows, mutual), np.delete(columns, nearest[mutual])
    both = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    return both[0], both[1]
