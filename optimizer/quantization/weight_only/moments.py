"""Second moments of what weights are multiplied by, added up sample by sample: memory does not grow with samples.

``XᵀX`` of an op's input rows tells the squared error of its outputs for any change of its weight, ``tr(ΔW·XᵀX·ΔWᵀ)``:
it is all that scaling, clipping and rounding of weights look at. One is kept of even samples, to fit to, and one of
odd ones, to judge on. Ops that read one tensor share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from engines.engine import Array, Feed
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp
from optimizer.quantization.observing.capture import observe
from optimizer.quantization.observing.chunks import in_chunks

HELD_BYTES = 512 << 20
"""Moments held at once; more tensors take another pass over the samples. Chosen."""
MOST_ROWS = 8192
"""Rows of one sample that count, evenly spaced: moments of 2000 inputs need not more. Chosen."""


@dataclass(frozen=True)
class InputMoments:
    """Of rows [rows, inputs]: the mean of ``XᵀX`` over rows of even samples and of odd ones, [inputs, inputs] each; of
    a single sample both are its own.
    """

    fit: Floats
    check: Floats
    rows: int

    @property
    def size(self) -> Floats:
        """Mean square of every input, [inputs]."""
        return (np.diagonal(self.fit) + np.diagonal(self.check)) / np.float32(2)

    def scaled(self, factor: Floats) -> InputMoments:
        """Of inputs multiplied by ``factor`` [inputs]."""
        outer = np.outer(factor, factor).astype(np.float32)
        return InputMoments(self.fit * outer, self.check * outer, self.rows)

    @property
    def usable(self) -> bool:
        return self.rows > 0 and bool(np.isfinite(self.fit).all() and np.isfinite(self.check).all())


def input_moments(
    model: ir.Model, readers: Mapping[str, Sequence[WeightedOp]], feeds: Sequence[Feed]
) -> Iterator[dict[str, InputMoments]]:
    """Moments of the tensors named in ``readers``, by name, as many at a time as ``HELD_BYTES`` hold."""
    inputs = {name: ops[0].reduction for name, ops in readers.items()}
    for chunk in in_chunks(list(readers), lambda name: 2 * 4 * inputs[name] ** 2, HELD_BYTES):
        sums = {name: (_Sum(inputs[name]), _Sum(inputs[name])) for name in chunk}

        def visit(name: str, value: Array, index: int, into: dict[str, tuple[_Sum, _Sum]] = sums) -> None:
            into[name][index % 2].add(np.asarray(value, np.float32).reshape(-1, value.shape[-1]))

        observe(model, list(chunk), feeds, visit)
        yield {name: _moments(*pair) for name, pair in sums.items()}


class _Sum:
    def __init__(self, inputs: int) -> None:
        self.rows, self.products = 0, np.zeros((inputs, inputs), np.float32)

    def add(self, rows: Floats) -> None:
        rows = rows[:: max(len(rows) // MOST_ROWS, 1)]
        self.products += rows.T @ rows
        self.rows += len(rows)

    @property
    def mean(self) -> Floats:
        return self.products / np.float32(max(self.rows, 1))


def _moments(even: _Sum, odd: _Sum) -> InputMoments:
    fit = even.mean
    return InputMoments(fit, odd.mean if odd.rows else fit, even.rows + odd.rows)


def squared_error(change: Floats, moments: Floats) -> float:
    """``tr(ΔW·H·ΔWᵀ)`` of ``change`` [outputs, inputs]: what it does to the outputs, a row on average."""
    return float(np.vdot(change @ moments, change))
