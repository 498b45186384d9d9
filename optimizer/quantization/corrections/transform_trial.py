"""What a transform of an activation does to the error at the ops that read it, on captured channel vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphs.reading.number_types import Floats, NumberType
from graphs.reading.weighted import WeightedOp
from optimizer.quantization.channels import contraction
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.codes.weights import as_float32
from optimizer.quantization.corrections.transforms import Transform
from optimizer.quantization.observing.capture import Channels

MOST_WEIGHTS = 1 << 20
"""Elements of a weight that transforms are judged on. Chosen."""
JUDGING_MACS = 1e9
"""Multiply-accumulates that judging one transform at one tensor may take, some hundredths of a second: rows are fewer
where weights are large. Chosen."""
MIN_ROWS = 256
"""Fewer vectors say little of where a channel ends: a transform made from them may clip what comes later. Chosen."""


@dataclass(frozen=True)
class _Reader:
    """What an op that reads the tensor makes of its errors: ``weight`` [channels, outputs * taps].

    A ``depthwise`` one mixes no channels and has a scale for each, so that its weight's rounding is no matter: its
    ``weight`` is a factor for each channel, [channels, 1].
    """

    weight: Floats
    taps: int
    depthwise: bool

    @classmethod
    def of(cls, op: WeightedOp) -> _Reader:
        """Evenly spaced outputs of a large one."""
        if op.depthwise:
            norms = np.linalg.norm(as_float32(op.tensor).reshape(op.channels, -1), axis=1)
            return cls(norms[:, None].astype(np.float32), 1, True)
        matrix, taps = contraction(op, as_float32(op.tensor)), math.prod(op.tensor.shape.numpy()[2:])
        if matrix.shape[1] == op.channels:
            matrix = np.ascontiguousarray(matrix[:, :: max(matrix.size // MOST_WEIGHTS, 1)])
        return cls(matrix, taps, False)

    def products(self, rows: Floats) -> Floats:
        """Of the float op: [rows, outputs * taps]."""
        return rows * self.weight[:, 0] if self.depthwise else rows @ self.weight

    def rounded_products(self, rows: Floats, scale: Floats, numbers: NumberType) -> Floats:
        """Of ``rows`` whose channels are larger by ``scale``, the weight made smaller for it and rounded."""
        smaller = self.weight / scale[:, None]
        return rows * smaller[:, 0] if self.depthwise else rows @ _round_weight(smaller, self.taps, numbers)


@dataclass(frozen=True)
class Trial:
    """What it takes to judge a transform at one site: rows to choose the step on, rows to judge on, the readers, and
    the ``scheme`` that rounds both operands.
    """

    seen: Channels
    unseen: Floats
    readers: Sequence[_Reader]
    exact: Sequence[Floats]
    scheme: Scheme

    @classmethod
    def of(cls, readers: Sequence[WeightedOp], seen: Channels, unseen: Channels, scheme: Scheme) -> Trial:
        made = [_Reader.of(op) for op in readers]
        judged = unseen.rows[: max(int(JUDGING_MACS / sum(reader.weight.size for reader in made)), MIN_ROWS // 2)]
        return cls(seen, judged, made, [reader.products(judged) for reader in made], scheme)

    @property
    def weights(self) -> list[Floats]:
        return [reader.weight for reader in self.readers]

    @property
    def signal(self) -> float:
        return sum(float(np.vdot(wanted, wanted)) for wanted in self.exact)

    def on_fewer_rows(self) -> Trial:
        """The same on a quarter of the rows: enough to tell the good from the bad, where they are not few."""
        if len(self.unseen) < MIN_ROWS:
            return self
        step = 4
        exact = [wanted[::step] for wanted in self.exact]
        fewer = replace(self.seen, rows=self.seen.rows[::step])
        return replace(self, seen=fewer, unseen=self.unseen[::step], exact=exact)

    def error(self, transform: Transform) -> float:
        """Squared error at the readers' outputs when both operands are quantized after ``transform``; the mean of each
        output counts as gone, and with it what a shift adds to all rows alike.
        """
        ends = np.stack([transform.apply(self.seen.low), transform.apply(self.seen.high)])
        quantize = self.scheme.static.best(transform.apply(self.seen.rows), ends)
        if transform.anchor and not quantize.zero:
            quantize = quantize.through(float(transform.anchor))
        rounded = quantize(transform.apply(self.unseen))
        total = 0.0
        for reader, wanted in zip(self.readers, self.exact, strict=True):
            error = reader.rounded_products(rounded, transform.scale, self.scheme.weights.numbers)
            error -= wanted
            error -= error.mean(axis=0)
            total += float(np.vdot(error, error))
        return total


def _round_weight(matrix: Floats, taps: int, numbers: NumberType) -> Floats:
    """[inputs, outputs * taps] through codes of ``numbers``, one scale per output."""
    folded = matrix.reshape(matrix.shape[0], -1, taps)
    scale = np.maximum(np.abs(folded).max(axis=(0, 2), keepdims=True) / numbers.highest, 1e-12)
    steps = np.asarray(folded / scale, np.float32)
    numbers.round(steps)
    return np.asarray(steps * scale, np.float32).reshape(matrix.shape)
