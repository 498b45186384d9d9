"""Rows of the matrices that weighted ops multiply, captured from the float graph: what corrections fit weights to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from engines.engine import Array, Feed
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp, group
from optimizer.quantization.observing.capture import observe
from optimizer.quantization.observing.chunks import in_chunks
from optimizer.quantization.observing.patches import RowSampler, geometry
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.rules.weighted import weighted_op

MAX_REDUCTION = 4608
"""Longest dot product solved: the Hessian is reduction² floats and its factorization cubic. Chosen."""
ROWS = 2048
"""Rows captured of an op, of all feeds together: some more than most reductions are long. Chosen."""
CHUNK_BYTES = 192 << 20
"""Rows captured in one run over the feeds. Chosen."""
KEPT_BYTES = 192 << 20
"""Rows that stay in memory for the corrections to come; those of further ops are captured again. Chosen."""


@dataclass(frozen=True)
class Rows:
    """``values`` [rows, groups, reduction] of one op, and which feed each comes from: ``feed`` [rows]."""

    values: Floats
    feed: NDArray[np.intp]

    def of_feeds(self, kept: NDArray[np.bool_]) -> Rows:
        """The rows of the feeds marked in ``kept`` [feeds]."""
        if kept.all():
            return self
        wanted = kept[self.feed]
        return Rows(self.values[wanted], self.feed[wanted])

    @property
    def halves(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows of every other feed, and those of the feeds between; every other row where there is one feed."""
        number = np.searchsorted(np.unique(self.feed), self.feed)
        first = (number if number.any() else np.arange(len(number))) % 2 == 0
        return first, ~first


class InputRows:
    """Input rows of the weighted ops of ``model``, at random positions of ``feeds``; captured once for all who ask."""

    def __init__(self, model: ir.Model, feeds: Sequence[Feed], *, seed: int = 0) -> None:
        self.model, self.feeds = model, feeds
        self._seed = seed
        self._kept: dict[str, Rows] = {}
        self._held: set[int] = set()  # ids of the arrays in ``_kept``: ops that read alike share one
        self._room = KEPT_BYTES

    def keep(self, ops: Sequence[WeightedOp]) -> None:
        """Capture the rows of all ``ops`` in one go, where all can stay: in place of a run over the feeds for each
        correction that comes upon an op no other has asked for.
        """
        missing = [op for op in ops if op.node.name not in self._kept]
        once = {_alike(op): op for op in missing}
        if missing and sum(map(_row_bytes, once.values())) <= self._room:
            for _ in self.of(missing):
                pass

    def release(self) -> None:
        """Let go of what was captured: who asks again has it captured again."""
        self._kept.clear()
        self._held.clear()
        self._room = KEPT_BYTES

    def of(self, ops: Sequence[WeightedOp]) -> Iterator[list[tuple[WeightedOp, Rows]]]:
        """Every op with its rows, as many ops at a time as ``CHUNK_BYTES`` allows."""
        if known := [(op, self._kept[str(op.node.name)]) for op in ops if op.node.name in self._kept]:
            yield known
        missing = [op for op in ops if op.node.name not in self._kept]
        for chunk in in_chunks(missing, _row_bytes, CHUNK_BYTES):
            captured = self._captured(chunk)
            for name, rows in captured.items():
                more = 0 if id(rows.values) in self._held else rows.values.nbytes
                if more <= self._room:
                    self._room -= more
                    self._held.add(id(rows.values))
                    self._kept[name] = rows
            yield [(op, captured[str(op.node.name)]) for op in chunk]

    def chosen(self, feeds: Sequence[Feed]) -> NDArray[np.bool_]:
        """Which of all feeds are among ``feeds``, marked: [feeds]."""
        wanted = {id(feed) for feed in feeds}
        return np.array([id(feed) in wanted for feed in self.feeds], np.bool_)

    def _captured(self, ops: Sequence[WeightedOp]) -> dict[str, Rows]:
        readers: dict[str, dict[Hashable, WeightedOp]] = {}
        for op in ops:
            readers.setdefault(str(_data(op.node).name), {}).setdefault(_alike(op), op)
        found = {
            how: _Filling(_rows_wanted(op), len(self.feeds)) for each in readers.values() for how, op in each.items()
        }

        sampler = RowSampler(self.feeds, self._seed)

        def visit(name: str, value: Array, index: int) -> None:
            for how, op in readers[name].items():
                filling = found[how]
                filling.add(sampler.rows(op, value, filling.each, index), index)

        observe(self.model, list(readers), self.feeds, visit)
        rows = {how: filling.rows() for how, filling in found.items()}
        return {str(op.node.name): rows[_alike(op)] for op in ops}


class _Filling:
    """Rows of one op as they come, ``each`` of a feed at most: put where they stay, for to join them takes as much
    memory again.
    """

    def __init__(self, wanted: int, feeds: int) -> None:
        self.each = max(wanted // feeds, 1)
        self._most, self._values, self._feed = self.each * feeds, np.zeros((0, 0, 0), np.float32), list[int]()

    def add(self, rows: Floats, feed: int) -> None:
        """``rows`` [rows, groups, reduction]."""
        if not self._values.size:
            self._values = np.empty((self._most, *rows.shape[1:]), np.float32)
        self._values[len(self._feed) : len(self._feed) + len(rows)] = rows
        self._feed += [feed] * len(rows)

    def rows(self) -> Rows:
        return Rows(self._values[: len(self._feed)], np.array(self._feed, np.intp))


def solvable(graph: ir.Graph, placement: Placement) -> Iterator[WeightedOp]:
    """Ops of ``placement`` with calibrated data whose product can be written as rows times a weight of their own."""
    nodes = {str(node.name): node for node in graph}
    readers = Counter(weight.tensor for weight in placement.weights for _ in weight.uses)
    calibrated = {use.node for point in placement.activations if not point.codes.block for use in point.uses}
    for weight in placement.weights:
        if weight.uses[0].node not in calibrated:
            continue
        op = weighted_op(nodes[weight.uses[0].node])
        if readers[weight.tensor] != 1 or not isinstance(op, WeightedOp) or len(op.tensor.shape) < 2:
            continue
        if op.node.op_type == "ConvTranspose" or op.reduction > MAX_REDUCTION:
            continue
        if op.node.op_type == "MatMul" and len(op.tensor.shape) != 2:
            continue
        if op.node.op_type == "Conv" and geometry(op) is None:
            continue
        yield op


def _alike(op: WeightedOp) -> Hashable:
    """Equal for ops whose rows are the same numbers: they read one tensor in one way, as a query, key and value do."""
    window = geometry(op) if op.node.op_type == "Conv" else None
    return str(_data(op.node).name), window, group(op.node), _rows_wanted(op)


def _row_bytes(op: WeightedOp) -> int:
    """Bytes of the rows captured for an op, in float32."""
    return 4 * _rows_wanted(op) * op.reduction * group(op.node)


def _rows_wanted(op: WeightedOp) -> int:
    """Fewer of a grouped convolution: each of its rows holds one dot product per group."""
    return ROWS // 8 if group(op.node) > 1 else ROWS


def _data(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value
