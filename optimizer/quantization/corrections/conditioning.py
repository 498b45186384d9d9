"""Shift and scale activations channel by channel before they are quantized, exactly undone in the reader's weights.

``W·x + b = (W / m)·((x − c)·m) + (b + W·c)`` for any shift ``c`` and any positive scale ``m`` per channel. Two ideas in
one transform:

* *Zero-point folding.* TensorRT's int8 is symmetric, so after ReLU, GELU or a sigmoid half the codes are never used;
  a shift to the middle of the range gives them back. Per channel it is Outlier Suppression+ (Wei et al. 2023).
* *SmoothQuant* (Xiao et al. 2022): ``m = w^(1−α) / a^α`` moves outlier channels of the activation into the weights.

A shift is exact only where every output sees the whole kernel (MatMul, Gemm, unpadded Conv). Candidates are judged by
the error they leave at the outputs of the ops that read the tensor, on activations they were not made from, and kept
only where they gain. The mean error counts as gone where the reader has a bias: bias correction takes it away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from optimizer.passes.base import PassResult
from optimizer.quantization.capture import capture_rows
from optimizer.quantization.channels import (
    can_add_bias,
    contraction,
    contraction_inputs,
    data_axis,
    input_axis,
    unpadded,
)
from optimizer.quantization.corrections.absorption import Absorber, find_absorber
from optimizer.quantization.graph_edits import values_by_name
from optimizer.quantization.points import ActivationPoint
from optimizer.quantization.rules.weighted import WeightedOp, weighted_op
from optimizer.quantization.weights import CODE_MAX, Floats, as_float32

ROWS = 2048
MOST_WEIGHTS = 1 << 20
"""Elements of a weight that transforms are judged on."""
"""Channel vectors captured per tensor: enough to meet the rare tokens that carry a transformer's outliers."""
JUDGING_MACS = 2e9
STORED_BYTES = 256 << 20
ALPHAS = (0.35, 0.5, 0.65, 0.8)
WORTH_FREE = 0.95
"""A free transform is kept when it leaves at most this part of the error; one that costs a node must do better."""
WORTH_NODE = 0.8
FINE = 1e-4
"""Relative error (40 dB) at which a tensor is left alone: a transform also ties the graph to the calibration data."""
MIN_ROWS = 32
_MOST = 64.0
_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True)
class Transform:
    """``x' = (x − shift)·scale`` per channel."""

    shift: Floats
    scale: Floats

    @property
    def anchor(self) -> np.float32:
        """The magnitude that zeros land on, where it is one for all channels."""
        alike = (self.shift == self.shift[0]).all() and (self.scale == 1).all()
        return np.abs(self.shift[0]) if alike else np.float32(0)

    def apply(self, rows: Floats) -> Floats:
        return (rows - self.shift) * self.scale


@dataclass(frozen=True)
class _Site:
    value: ir.Value
    ops: tuple[WeightedOp, ...]
    absorber: Absorber
    shiftable: bool


class ConditionActivations:
    """Transforms the inputs of weighted ops where that lowers their quantization error.

    ``points`` come from a TensorRT placement; ``feeds`` are a few calibration samples. ``symmetric`` tells whether
    activations will be int8 with zero point 0 (then shifting pays).
    """

    name = "condition activations"

    def __init__(
        self, points: Sequence[ActivationPoint], feeds: Sequence[Feed], *, symmetric: bool = True, seed: int = 0
    ) -> None:
        self._points, self._feeds, self._symmetric, self._seed = points, feeds, symmetric, seed

    def apply(self, model: ir.Model) -> PassResult:
        notes = []
        for sites in _chunks(list(_sites(model.graph, self._points))):
            axes = {str(site.value.name): data_axis(site.ops[0]) for site in sites}
            rows = capture_rows(model, axes, self._feeds, rows=ROWS, seed=self._seed)
            for site in sites:
                note = self._improve(model.graph, site, rows.pop(str(site.value.name)))
                if note:
                    notes.append(note)
        return PassResult(len(notes), tuple(notes))

    def _improve(self, graph: ir.Graph, site: _Site, rows: Floats) -> str:
        """Candidates are made from one half of the rows and judged on the other, so that none wins by overfitting."""
        if len(rows) < MIN_ROWS:
            return ""
        seen, unseen = rows[::2], rows[1::2]
        weights = [_some_columns(contraction(op, as_float32(op.tensor)), op) for op in site.ops]
        unseen = unseen[: max(int(JUDGING_MACS / sum(matrix.size for matrix in weights)), MIN_ROWS)]
        taps = [math.prod(op.tensor.shape.numpy()[2:]) for op in site.ops]
        exact = [unseen @ matrix for matrix in weights]
        identity = Transform(np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32))
        start = best = _error(identity, seen, unseen, weights, taps, exact)
        transform = identity
        if start < FINE * sum(float(np.square(wanted).sum()) for wanted in exact):
            return ""
        for candidate in self._candidates(site, seen, weights):
            error = _error(candidate, seen, unseen, weights, taps, exact)
            if error < best:
                best, transform = error, candidate
        worth = WORTH_FREE if site.absorber.free else WORTH_NODE
        if transform is identity or best > worth * start:
            return ""
        site.absorber.apply(graph, site.value, site.ops, transform.shift, transform.scale)
        gain = 10 * np.log10(start / max(best, 1e-30))
        return f"{site.value.name}: {_describe(transform)}, {gain:.1f} dB less error at its readers"

    def _candidates(self, site: _Site, rows: Floats, weights: Sequence[Floats]) -> Iterator[Transform]:
        for shift in self._shifts(site, rows):
            for scale in _scales(site, rows - shift, weights):
                yield Transform(shift, scale)

    def _shifts(self, site: _Site, rows: Floats) -> Iterator[Floats]:
        zero = np.zeros(rows.shape[1], np.float32)
        yield zero
        if not (site.shiftable and self._symmetric):
            return
        yield zero + middle_of_best_range(rows)
        if site.absorber.shift_per_channel:
            yield ((rows.min(axis=0) + rows.max(axis=0)) / 2).astype(np.float32)


def _some_columns(matrix: Floats, op: WeightedOp) -> Floats:
    """Evenly spaced output channels of a matrix product's large weight: enough to judge a transform by."""
    if matrix.shape[1] != op.channels:
        return matrix
    return np.ascontiguousarray(matrix[:, :: max(matrix.size // MOST_WEIGHTS, 1)])


def _sites(graph: ir.Graph, points: Sequence[ActivationPoint]) -> Iterator[_Site]:
    nodes = {str(node.name): node for node in graph}
    values = values_by_name(graph)
    for point in points:
        if any(use.index != 0 for use in point.uses):
            continue
        found = [weighted_op(nodes[use.node]) for use in point.uses]
        ops = tuple(op for op in found if isinstance(op, WeightedOp) and input_axis(op) is not None)
        if len(ops) != len(found) or len({data_axis(op) for op in ops}) != 1:
            continue
        absorber = find_absorber(values[point.tensor], ops)
        if absorber is not None:
            shiftable = absorber.shifts and all(unpadded(op) and can_add_bias(op) for op in ops)
            yield _Site(values[point.tensor], ops, absorber, shiftable)


def _chunks(sites: Sequence[_Site]) -> Iterator[list[_Site]]:
    """Sites in runs whose captured rows fit ``STORED_BYTES``."""
    chunk: list[_Site] = []
    size = 0
    for site in sites:
        bytes_ = 4 * ROWS * contraction_inputs(site.ops[0])
        if chunk and size + bytes_ > STORED_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(site)
        size += bytes_
    if chunk:
        yield chunk


def _scales(site: _Site, rows: Floats, weights: Sequence[Floats]) -> Iterator[Floats]:
    one = np.ones(rows.shape[1], np.float32)
    yield one
    if not site.absorber.scales:
        return
    activation = np.abs(rows).max(axis=0)
    weight = np.max([np.abs(matrix).max(axis=1) for matrix in weights], axis=0)
    live = (activation > 0) & (weight > 0)
    for alpha in ALPHAS:
        log = (1 - alpha) * np.log(np.where(live, weight, 1)) - alpha * np.log(np.where(live, activation, 1))
        log = np.where(live, log - log[live].mean() if live.any() else 0, 0)
        yield np.clip(np.exp(log), 1 / _MOST, _MOST).astype(np.float32)


def _error(
    transform: Transform,
    seen: Floats,
    unseen: Floats,
    weights: Sequence[Floats],
    taps: Sequence[int],
    exact: Sequence[Floats],
) -> float:
    """Squared error at the readers' outputs when both operands are quantized after ``transform``."""
    step = best_step(transform.apply(seen))
    if transform.anchor:
        step = transform.anchor / max(round(float(transform.anchor / step)), 1)
    codes = np.clip(np.rint(transform.apply(unseen) / step), -CODE_MAX, CODE_MAX) * step
    total = 0.0
    for matrix, count, wanted in zip(weights, taps, exact, strict=True):
        scaled = matrix / transform.scale[:, None]
        offset = transform.shift @ matrix
        error = codes @ _round_weight(scaled, count) + offset - wanted
        total += float(np.square(error - error.mean(axis=0)).sum())
    return total


def best_step(values: Floats) -> np.float32:
    """The symmetric int8 step with the least squared error on ``values``."""
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    steps = [np.float32(top * fraction / CODE_MAX) for fraction in _FRACTIONS]
    errors = [
        float(np.square(np.clip(np.rint(values / step), -CODE_MAX, CODE_MAX) * step - values).sum()) for step in steps
    ]
    return steps[int(np.argmin(errors))]


def middle_of_best_range(values: Floats) -> np.float32:
    """Centre of the asymmetric 8-bit range with the least squared error on ``values``."""
    some = values.ravel()[:: max(values.size // 16384, 1)]
    low, high = float(some.min()), float(some.max())
    best, middle = np.inf, np.float32(0)
    for top in _FRACTIONS:
        for bottom in _FRACTIONS if low < -0.05 * high else (1.0,):
            start, end = low * bottom, high * top
            step = max(end - start, 1e-12) / (2 * CODE_MAX)
            rounded = np.clip(np.rint((some - start) / step), 0, 2 * CODE_MAX) * step + start
            error = float(np.square(rounded - some).sum())
            if error < best:
                best, middle = error, np.float32((start + end) / 2)
    return middle


def _round_weight(matrix: Floats, taps: int) -> Floats:
    """[inputs, outputs * taps] through int8, one scale per output."""
    folded = matrix.reshape(matrix.shape[0], -1, taps)
    scale = np.maximum(np.abs(folded).max(axis=(0, 2), keepdims=True) / CODE_MAX, 1e-12)
    return np.asarray(np.rint(folded / scale) * scale, np.float32).reshape(matrix.shape)


def _describe(transform: Transform) -> str:
    parts = []
    if transform.shift.any():
        spread = np.unique(transform.shift)
        parts.append(f"shifted by {spread[0]:.3g}" if len(spread) == 1 else "shifted per channel")
    if (transform.scale != 1).any():
        parts.append("scaled per channel")
    return ", ".join(parts)
