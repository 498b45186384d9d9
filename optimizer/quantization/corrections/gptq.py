"""Round weights so that each op reproduces its float outputs from the quantized inputs it will see.

For one op with float input rows ``X``, the same rows quantized ``X̂`` and weight ``W`` the best int8 weight solves
``min ‖X·W − X̂·Ŵ − 1·δ‖²``. Without rounding it is a ridge regression in closed form, which absorbs part of the
activations' quantization error; rounding then goes column by column, each error spread over the columns to come by the
inverse Hessian (GPTQ, Frantar et al. 2023, after Optimal Brain Surgeon). ``δ`` is the bias correction of Nagel et al.
2019, in closed form too. It matters most: an error that is the same everywhere does not average out in a pooling layer.

``X̂`` is ``X`` through this op's own quantizer, not what the quantized ops before it would yield: every op then repairs
its own error only, and all can be solved independently. Candidates are judged on rows the solution has not seen; plain
rounding is one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from engines.engine import Array, Feed
from optimizer.attempt import attempt
from optimizer.quantization.capture import observe
from optimizer.quantization.channels import add_to_bias, can_add_bias
from optimizer.quantization.fake_quantize import Quantizer
from optimizer.quantization.graph_edits import GraphEdits
from optimizer.quantization.insertion_points import Placement
from optimizer.quantization.patches import geometry, sample_rows
from optimizer.quantization.qdq import QuantizedWeight
from optimizer.quantization.rules.weighted import WeightedOp, group, weighted_op
from optimizer.quantization.weights import CODE_MAX, Codes, Floats, as_float32, mse_scales

MAX_REDUCTION = 4608
"""Longest dot product solved: the Hessian is reduction² floats and its inversion cubic."""
ROWS = 2048
MIN_ROWS = 64
WORTH = 0.97
STORED_BYTES = 192 << 20
SOLVED_WORK = 3e11
"""Multiply-accumulates all solutions together may take, some minutes; later ops are rounded plainly."""
RIDGE = 0.01
_NOTHING = 1e-30
_BLOCK = 128


@dataclass(frozen=True)
class Variant:
    """A placement, and the quantizers that round the data of each of its ops, by node name."""

    placement: Placement
    quantizers: Mapping[str, Quantizer]


@dataclass(frozen=True)
class Rounding:
    """The outcome for one op: its weight and bias correction, and the error it saves on unseen rows (dB)."""

    node: str
    tensor: str
    weight: QuantizedWeight
    gain_db: float


def round_weights(
    model: ir.Model,
    variants: Mapping[str, Variant],
    feeds: Sequence[Feed],
    *,
    solve: bool = True,
    biased: bool = True,
    seed: int = 0,
    notes: list[str] | None = None,
) -> dict[str, list[Rounding]]:
    """Round every weight that one op reads, for each of ``variants``, on rows captured from the float ``model``.

    Rows are captured once for all variants, for as many ops at a time as ``STORED_BYTES`` allows. Without ``solve``,
    weights are rounded plainly and only biases corrected; without ``biased`` these are left as they are. An op that
    cannot be solved is rounded plainly by the inserter, and ``notes`` get to know.
    """
    found: dict[str, list[Rounding]] = {name: [] for name in variants}
    ops = {str(op.node.name): op for variant in variants.values() for op in solvable(model.graph, variant.placement)}
    left = SOLVED_WORK if solve else 0.0
    for chunk in chunks(list(ops.values())):
        captured = capture_inputs(model, chunk, feeds, seed)
        for op in chunk:
            rows = captured.pop(op.node)
            left -= _work(op, rows) * len(variants)
            for name, variant in variants.items():
                quantizer = variant.quantizers.get(str(op.node.name))
                if quantizer is None:
                    continue
                solution = partial(_solve, op, rows, quantizer, left > 0, biased, variant.placement.code_max)
                rounding, failed = attempt(f"rounding of {op.node.name}", solution, None)
                found[name] += [rounding] if rounding is not None else []
                if notes is not None:
                    notes += failed
    return found


def _work(op: WeightedOp, rows: Floats) -> float:
    """Multiply-accumulates of one solution: an inverse per group, and the error spread over the weight."""
    _, groups, reduction = rows.shape
    return float(3 * groups * reduction**3 + 2 * op.channels * reduction**2)


def correct_biases(model: ir.Model, roundings: Sequence[Rounding]) -> list[str]:
    """Add each solution's bias correction to ``model``'s float biases; returns notes for the user."""
    nodes, edits = {str(node.name): node for node in model.graph}, GraphEdits(model.graph)
    corrected = 0
    for rounding in roundings:
        op = weighted_op(nodes[rounding.node])
        if rounding.weight.bias is not None and isinstance(op, WeightedOp):
            add_to_bias(edits, op, rounding.weight.bias)
            corrected += 1
    gains = [rounding.gain_db for rounding in roundings if rounding.gain_db > 0]
    notes = [f"biases corrected for {corrected} ops"] if corrected else []
    if gains:
        told = f"least-squares rounding of {len(gains)} weights, {np.mean(gains):.1f} dB less error each on unseen rows"
        notes = ["; ".join([told, *notes])]
    return notes


def solvable(graph: ir.Graph, placement: Placement) -> Iterator[WeightedOp]:
    """The ops of ``placement`` whose product can be written as rows times a weight of their own."""
    nodes = {str(node.name): node for node in graph}
    readers = Counter(weight.tensor for weight in placement.weights for _ in weight.uses)
    for weight in placement.weights:
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


def chunks(ops: Sequence[WeightedOp]) -> Iterator[list[WeightedOp]]:
    """``ops`` in runs whose captured rows fit ``STORED_BYTES``."""
    chunk: list[WeightedOp] = []
    size = 0
    for op in ops:
        bytes_ = 2 * 4 * _rows_wanted(op) * op.reduction * group(op.node)
        if chunk and size + bytes_ > STORED_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(op)
        size += bytes_
    if chunk:
        yield chunk


def _rows_wanted(op: WeightedOp) -> int:
    """Fewer of a grouped convolution: each of its rows holds one dot product per group."""
    return ROWS // 8 if group(op.node) > 1 else ROWS


def _data(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def capture_inputs(
    model: ir.Model, ops: Sequence[WeightedOp], feeds: Sequence[Feed], seed: int
) -> dict[ir.Node, Floats]:
    """Input rows of every op: node -> [about ``ROWS``, groups, reduction], at random positions of all feeds."""
    readers: dict[str, list[WeightedOp]] = {}
    for op in ops:
        readers.setdefault(str(_data(op.node).name), []).append(op)
    parts: dict[ir.Node, list[Floats]] = {op.node: [] for op in ops}

    def visit(name: str, value: Array, index: int) -> None:
        for op in readers[name]:
            rng = np.random.default_rng((seed, index))
            count = max(_rows_wanted(op) // len(feeds), 1)
            parts[op.node].append(sample_rows(op, value, count, rng))

    observe(model, list(readers), feeds, visit)
    return {node: np.concatenate(rows) for node, rows in parts.items()}


def _solve(op: WeightedOp, plain: Floats, quantizer: Quantizer, solve: bool, biased: bool, top: int) -> Rounding | None:
    """Plain rounding or, if allowed and better, least squares; each with its bias correction."""
    if len(plain) < MIN_ROWS or not np.isfinite(plain).all():
        return None
    noisy = quantizer(plain)
    biased = biased and can_add_bias(op)
    rows = _as_rows(op, as_float32(op.tensor))
    split = rows.reshape(plain.shape[1], -1, rows.shape[1])
    plain, noisy = plain.swapaxes(0, 1), noisy.swapaxes(0, 1)
    fit, check = slice(None, None, 2), slice(1, None, 2)
    moments = _moments(plain[:, fit], noisy[:, fit], biased)
    candidates = [_rounded(split, moments, biased, top)]
    if solve:
        candidates.append(_least_squares(split, moments, biased, top))
    wanted = plain[:, check] @ split.swapaxes(1, 2)
    errors = [_unseen_error(candidate, wanted, noisy[:, check]) for candidate in candidates]
    best = int(errors[-1] < WORTH * errors[0])
    chosen = candidates[best]
    gain = 10 * np.log10(max(errors[0], _NOTHING) / max(errors[best], _NOTHING))
    codes = _as_tensor(op, chosen.codes.reshape(rows.shape))
    settled = QuantizedWeight(codes, chosen.scale.ravel(), chosen.bias.ravel() if biased else None)
    return Rounding(str(op.node.name), str(op.weight.name), settled, float(gain))


@dataclass(frozen=True)
class _Candidate:
    """Codes [groups, outputs, reduction]; scale and bias [groups, outputs]."""

    codes: Codes
    scale: Floats
    bias: Floats

    def values(self) -> Floats:
        return self.codes * self.scale[..., None]


def _rounded(split: Floats, moments: _Moments, biased: bool, top: int) -> _Candidate:
    """Plain rounding of [groups, outputs, reduction]."""
    scale = _scales(split, top)
    codes = np.clip(np.rint(split / scale[..., None]), -top, top).astype(np.int8)
    return _candidate(split, moments, codes, scale, biased)


def _least_squares(split: Floats, moments: _Moments, biased: bool, top: int) -> _Candidate:
    target = moments.compensated(split)
    scale = _scales(target, top)
    return _candidate(split, moments, gptq(target, moments.hessian, scale, kept=split != 0, top=top), scale, biased)


def _scales(split: Floats, top: int) -> Floats:
    return mse_scales(split.reshape(-1, split.shape[-1]), 0, top=top).reshape(split.shape[:-1])


def _candidate(split: Floats, moments: _Moments, codes: Codes, scale: Floats, biased: bool) -> _Candidate:
    candidate = _Candidate(codes, scale, np.zeros(scale.shape, np.float32))
    if not biased:
        return candidate
    bias = split @ moments.mean_plain[..., None] - candidate.values() @ moments.mean_noisy[..., None]
    return replace(candidate, bias=bias[..., 0])


@dataclass(frozen=True)
class _Moments:
    """Second moments of each group's rows: ``hessian`` = X̂ᵀX̂ + λI, ``cross`` = X̂ᵀX + λI (centred when biased).

    Both [groups, reduction, reduction]; the means [groups, reduction].
    """

    hessian: Floats
    cross: Floats
    mean_plain: Floats
    mean_noisy: Floats

    def compensated(self, weight: Floats) -> Floats:
        solution = np.linalg.solve(self.hessian, self.cross @ weight.swapaxes(1, 2))
        return np.ascontiguousarray(solution.swapaxes(1, 2), np.float32)


def _moments(plain: Floats, noisy: Floats, biased: bool) -> _Moments:
    """Of rows [groups, rows, reduction]."""
    _, rows, size = noisy.shape
    mean_plain, mean_noisy = plain.mean(axis=1), noisy.mean(axis=1)
    if biased:
        plain, noisy = plain - mean_plain[:, None], noisy - mean_noisy[:, None]
    transposed = np.ascontiguousarray(noisy.swapaxes(1, 2))
    hessian, cross = transposed @ noisy / rows, transposed @ plain / rows
    diagonal = np.arange(size)
    trace = hessian[:, diagonal, diagonal].sum(axis=1, keepdims=True)
    ridge = trace / size * max(RIDGE, size / rows * RIDGE * 10) + 1e-12
    hessian[:, diagonal, diagonal] += ridge
    cross[:, diagonal, diagonal] += ridge
    return _Moments(hessian, cross, mean_plain, mean_noisy)


def gptq(
    weight: Floats, hessian: Floats, scale: Floats, kept: NDArray[np.bool_] | None = None, top: int = CODE_MAX
) -> Codes:
    """int8 codes of ``weight`` [groups, outputs, inputs] that keep ``tr(ΔW·H·ΔWᵀ)`` of each group small.

    ``hessian`` is [groups, inputs, inputs], ``scale`` [groups, outputs]. Codes are zero where ``kept`` is False, so
    that a pruned weight stays pruned (2:4 sparsity).

    Columns are rounded in order of falling curvature; the rounding error of each is pushed onto those not yet rounded
    along the rows of the Cholesky factor of H⁻¹.
    """
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1)
    down = order[:, :, None]
    remaining = np.take_along_axis(weight.swapaxes(1, 2), down, axis=1)  # [groups, inputs, outputs]: a column is a row
    mask = None if kept is None else np.take_along_axis(kept.swapaxes(1, 2), down, axis=1)
    factor = _inverse_factor(np.take_along_axis(np.take_along_axis(hessian, down, axis=1), order[:, None], axis=2))
    codes = np.empty(remaining.shape, np.int8)
    inputs = len(remaining[0])
    for start in range(0, inputs, _BLOCK):
        end = min(start + _BLOCK, inputs)
        errors = np.empty((len(remaining), end - start, remaining.shape[2]), np.float32)
        for column in range(start, end):
            values = remaining[:, column]
            rounded = np.clip(np.rint(values / scale), -top, top)
            if mask is not None:
                rounded *= mask[:, column]
            codes[:, column] = rounded
            error = (values - rounded * scale) / factor[:, column, column, None]
            remaining[:, column:end] -= factor[:, column, column:end, None] * error[:, None]
            errors[:, column - start] = error
        remaining[:, end:] -= factor[:, start:end, end:].swapaxes(1, 2) @ errors
    restored = np.empty_like(codes)
    np.put_along_axis(restored, down, codes, axis=1)
    return np.ascontiguousarray(restored.swapaxes(1, 2))


def _inverse_factor(hessian: Floats) -> Floats:
    """The upper Cholesky factor of each group's inverse."""
    inverse = np.linalg.inv(hessian.astype(np.float64))
    return np.linalg.cholesky((inverse + inverse.swapaxes(1, 2)) / 2).swapaxes(1, 2).astype(np.float32)


def _unseen_error(candidate: _Candidate, wanted: Floats, noisy: Floats) -> float:
    """Squared error beside the float outputs ``wanted`` [groups, rows, outputs]."""
    found = noisy @ candidate.values().swapaxes(1, 2) + candidate.bias[:, None]
    return float(np.square(found - wanted).sum())


def _as_rows(op: WeightedOp, weight: Floats) -> Floats:
    """The weight as [outputs, reduction]."""
    return np.ascontiguousarray(np.moveaxis(weight, op.axis, 0).reshape(op.channels, -1))


def _as_tensor(op: WeightedOp, codes: Codes) -> Codes:
    """Undo ``_as_rows`` (weights of matrix products have rank two, convolutions have their outputs first)."""
    shape = tuple(op.tensor.shape.numpy())
    return np.ascontiguousarray(codes.T) if op.axis == 1 else codes.reshape(shape)
