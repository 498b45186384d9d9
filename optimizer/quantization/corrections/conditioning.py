"""Shift and scale activations channel by channel before they are quantized, exactly undone in the reader's weights.

``W·x + b = (W / m)·((x − c)·m) + (b + W·c)`` for any shift ``c`` and any positive scale ``m`` per channel. Two ideas in
one transform:

* *Zero-point folding.* TensorRT's int8 is symmetric, so after ReLU, GELU or a sigmoid half the codes are never used;
  a shift to the middle of the range gives them back. Per channel it is Outlier Suppression+ (Wei et al. 2023).
* *SmoothQuant* (Xiao et al. 2022): ``m = w^(1−α) / a^α`` moves outlier channels of the activation into the weights.

A shift is exact only where every output sees the whole kernel (MatMul, Gemm, unpadded Conv). Each candidate is judged
by the error it leaves at the outputs of the ops that read the tensor, on captured activations, and kept only if it gains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from optimizer.passes.base import PassResult
from optimizer.quantization.capture import capture_rows
from optimizer.quantization.channels import can_add_bias, contraction, data_axis, input_axis, unpadded
from optimizer.quantization.corrections.absorption import Absorber, find_absorber
from optimizer.quantization.graph_edits import values_by_name
from optimizer.quantization.points import ActivationPoint
from optimizer.quantization.rules.weighted import WeightedOp, weighted_op
from optimizer.quantization.weights import CODE_MAX, Floats, as_float32

ROWS = 512
"""Channel vectors each candidate is judged on."""
ALPHAS = (0.35, 0.5, 0.65, 0.8)
WORTH_FREE = 0.95
"""A free transform is kept when it leaves at most this part of the error; one that costs a node must do better."""
WORTH_NODE = 0.8
_MOST = 64.0


@dataclass(frozen=True)
class Transform:
    """``x' = (x − shift)·scale`` per channel."""

    shift: Floats
    scale: Floats

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
        sites = list(_sites(model.graph, self._points))
        axes = {str(site.value.name): data_axis(site.ops[0]) for site in sites}
        rows = capture_rows(model, axes, self._feeds, rows=ROWS, seed=self._seed)
        notes = []
        for site in sites:
            note = self._improve(model.graph, site, rows.pop(str(site.value.name)))
            if note:
                notes.append(note)
        return PassResult(len(notes), tuple(notes))

    def _improve(self, graph: ir.Graph, site: _Site, rows: Floats) -> str:
        weights = [contraction(op, as_float32(op.tensor)) for op in site.ops]
        taps = [matrix.shape[1] // op.channels for matrix, op in zip(weights, site.ops, strict=True)]
        exact = [rows @ matrix for matrix in weights]
        identity = Transform(np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32))
        start = _error(identity, rows, weights, taps, exact)
        best, transform = start, identity
        for candidate in self._candidates(site, rows, weights):
            error = _error(candidate, rows, weights, taps, exact)
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
        low, high = rows.min(axis=0), rows.max(axis=0)
        for quantile in (0.0, 0.0005):
            ends = np.quantile(rows, (quantile, 1 - quantile)) if quantile else (rows.min(), rows.max())
            yield zero + np.float32((ends[0] + ends[1]) / 2)
        if site.absorber.shift_per_channel:
            yield ((low + high) / 2).astype(np.float32)


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
    transform: Transform, rows: Floats, weights: Sequence[Floats], taps: Sequence[int], exact: Sequence[Floats]
) -> float:
    """Squared error at the readers' outputs when both operands are quantized after ``transform``."""
    codes = round_symmetric(transform.apply(rows))
    total = 0.0
    for matrix, count, wanted in zip(weights, taps, exact, strict=True):
        scaled = matrix / transform.scale[:, None]
        offset = transform.shift @ matrix
        total += float(np.square(codes @ _round_weight(scaled, count) + offset - wanted).sum())
    return total


def round_symmetric(values: Floats) -> Floats:
    """``values`` through symmetric int8 at the threshold with the least squared error."""
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    best, found = np.inf, values
    for fraction in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4):
        scale = np.float32(top * fraction / CODE_MAX)
        rounded = np.clip(np.rint(values / scale), -CODE_MAX, CODE_MAX) * scale
        error = float(np.square(rounded - values).sum())
        if error < best:
            best, found = error, rounded
    return found


def _round_weight(matrix: Floats, taps: int) -> Floats:
    """[inputs, outputs * taps] through int8, one scale per output."""
    folded = matrix.reshape(matrix.shape[0], -1, taps)
    scale = np.maximum(np.abs(folded).max(axis=(0, 2), keepdims=True) / CODE_MAX, 1e-12)
    return (np.rint(folded / scale) * scale).reshape(matrix.shape)


def _describe(transform: Transform) -> str:
    parts = []
    if transform.shift.any():
        spread = np.unique(transform.shift)
        parts.append(f"shifted by {spread[0]:.3g}" if len(spread) == 1 else "shifted per channel")
    if (transform.scale != 1).any():
        parts.append("scaled per channel")
    return ", ".join(parts)
