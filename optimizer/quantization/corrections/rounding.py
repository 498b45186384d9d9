"""Rounding of every weight, and the bias that takes the mean error of its op away.

A weighted op's quantized rows are its float rows through its own quantizer, not what the quantized ops before it would
yield: every op then repairs its own error only, and all can be solved independently, several at a time. Least squares
(``gptq``) is judged on rows the solution has not seen, and taken where it beats plain rounding there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from engines.engine import Feed
from engines.parallel import in_parallel
from graphs.reading.number_types import Floats, NumberType
from graphs.reading.weighted import WeightedOp
from graphs.writing.edits import GraphEdits
from optimizer.attempt import attempt
from optimizer.quantization.channels import add_to_bias, can_add_bias
from optimizer.quantization.codes.affine import Quantizer
from optimizer.quantization.codes.weights import QuantizedWeight, WeightScales, as_float32, mse_scales
from optimizer.quantization.corrections.gptq import RoundedWeight, gptq, rounded_plainly
from optimizer.quantization.corrections.input_rows import InputRows, Rows, solvable
from optimizer.quantization.judging.noise import decibels
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.rules.weighted import weighted_op
from optimizer.reconstruction.layout import as_rows, as_tensor
from optimizer.reconstruction.moments import Means, Moments

MIN_ROWS = 64
"""Fewer rows than this tell nothing of an op. Chosen."""
LARGEST = 1e17
"""Magnitude of an input up to which sums over 10,000 squares are float32 numbers. Derived."""
WORTH = 0.97
"""Squared error on unseen rows, relative to plain rounding's, below which least squares is taken. Chosen."""
SOLVED_WORK = 3e11
"""Multiply-accumulates all solutions together may take, a minute or two; later ops are rounded plainly. Chosen."""
SMALL_REDUCTION = 1280
"""Ops with a longer dot product are solved one after the other: two Hessians of theirs are 40 MB and more, and their
products fill all cores by themselves. Chosen."""


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


@dataclass(frozen=True)
class _How:
    """``solve``: by least squares where that is better; ``biased``: with bias correction; ``numbers``: the codes'."""

    solve: bool
    biased: bool
    numbers: NumberType
    scales: WeightScales


def round_weights(
    rows: InputRows,
    variants: Mapping[str, Variant],
    feeds: Sequence[Feed],
    scales: WeightScales,
    *,
    solve: bool = True,
    biased: bool = True,
    notes: list[str] | None = None,
) -> dict[str, list[Rounding]]:
    """Round every weight that one op reads, for each of ``variants``, on the ``rows`` that come from ``feeds``.

    Without ``solve``, weights are rounded plainly and only biases corrected; without ``biased`` these are left as they
    are. An op that cannot be solved is rounded plainly by the inserter, and ``notes`` get to know.
    """
    found: dict[str, list[Rounding]] = {name: [] for name in variants}
    ops = {
        str(op.node.name): op for variant in variants.values() for op in solvable(rows.model.graph, variant.placement)
    }
    chosen, left = rows.chosen(feeds), SOLVED_WORK if solve else 0.0
    points = (weight for variant in variants.values() for weight in variant.placement.weights)
    numbers = {use.node: weight.codes.numbers for weight in points for use in weight.uses}
    for chunk in rows.of(list(ops.values())):
        tasks: list[_Task] = []
        for op, captured in chunk:
            alike: dict[Quantizer, list[str]] = {}  # variants that round the op's data alike share what is found
            for name, variant in variants.items():
                if (quantizer := variant.quantizers.get(str(op.node.name))) is not None:
                    alike.setdefault(quantizer, []).append(name)
            left -= _work(op, captured.values) * len(alike)
            how = _How(left > 0, biased, numbers[str(op.node.name)], scales)
            data = partial(captured.of_feeds, chosen)
            tasks += [_Task(names, op, data, quantizer, how) for quantizer, names in alike.items()]
        for task, (rounding, failed) in zip(tasks, in_parallel(_Task.run, tasks, _Task.small), strict=True):
            for name in task.variants:
                found[name] += [rounding] if rounding is not None else []
            if notes is not None:
                notes += failed
    return found


@dataclass(frozen=True)
class _Task:
    """One op to round for ``variants``; ``rows`` gives its float rows [rows, groups, reduction]."""

    variants: Sequence[str]
    op: WeightedOp
    rows: Callable[[], Rows]
    quantizer: Quantizer
    how: _How

    def run(self) -> tuple[Rounding | None, list[str]]:
        make = partial(_rounding, self.op, self.rows, self.quantizer, self.how)
        return attempt(f"rounding of {self.op.node.name}", make, None)

    def small(self) -> bool:
        """Whether several at a time do not cost much memory."""
        return self.op.reduction <= SMALL_REDUCTION


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


def _work(op: WeightedOp, rows: Floats) -> float:
    """Multiply-accumulates of one solution: its moments, two factorizations per group, and the errors spread."""
    count, groups, reduction = rows.shape
    return float(groups * reduction**2 * (count + reduction) + 2 * op.channels * reduction**2)


def _rounding(op: WeightedOp, rows: Callable[[], Rows], quantizer: Quantizer, how: _How) -> Rounding | None:
    """Of rows [rows, groups, reduction]: plain rounding or, if allowed and better, least squares."""
    captured, numbers = rows(), how.numbers
    plain = captured.values
    if len(plain) < MIN_ROWS or not np.abs(plain).max() <= LARGEST:  # NaN is none either
        return None
    noisy = quantizer(plain)
    weight = as_rows(op, as_float32(op.tensor)).reshape(plain.shape[1], -1, plain.shape[2])
    scale = how.scales(op.tensor, op.axis, numbers).reshape(weight.shape[:-1])
    plain, noisy = plain.swapaxes(0, 1), noisy.swapaxes(0, 1)
    biased = how.biased and can_add_bias(op)
    if how.solve:
        best, gain = _solved(weight, scale, plain, noisy, captured.halves, biased, numbers)
    else:
        best, gain = rounded_plainly(weight, scale, numbers), 0.0
    if biased:  # by all rows, whatever part of them it was chosen on
        best = best.unbiased(weight, Means.of(plain, noisy))
    codes = as_tensor(op, best.codes.reshape(op.channels, -1))
    settled = QuantizedWeight(codes, best.scale.ravel(), best.bias.ravel() if biased else None)
    return Rounding(str(op.node.name), str(op.weight.name), settled, gain)


def _solved(
    weight: Floats,
    scale: Floats,
    plain: Floats,
    noisy: Floats,
    halves: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    biased: bool,
    numbers: NumberType,
) -> tuple[RoundedWeight, float]:
    """Least squares on one of ``halves``, where the other gains by it (and how much, in dB); else plain rounding.

    Rows are [groups, rows, reduction], ``weight`` [groups, outputs, reduction].
    """
    fit, check = halves
    means = Means.of(plain[:, fit], noisy[:, fit])
    moments = Moments.of(plain[:, fit], noisy[:, fit], means if biased else None)
    target = moments.compensated(weight)
    scale_of_target = mse_scales(target.reshape(-1, target.shape[-1]), 0, numbers=numbers).reshape(scale.shape)
    codes = gptq(target, moments.hessian, scale_of_target, kept=weight != 0, numbers=numbers)
    candidates = [
        rounded_plainly(weight, scale, numbers),
        RoundedWeight(codes, scale_of_target, np.zeros(scale.shape, np.float32)),
    ]
    if biased:
        candidates = [candidate.unbiased(weight, means) for candidate in candidates]
    wanted = plain[:, check] @ weight.swapaxes(1, 2)
    errors = [candidate.squared_error(wanted, noisy[:, check]) for candidate in candidates]
    best = int(errors[1] < WORTH * errors[0])
    return candidates[best], decibels(errors[0]) - decibels(errors[best])
