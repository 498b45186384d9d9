"""From a clean float graph and calibration samples to a quantized graph: the one entry point of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import onnx_ir as ir

from calibration.collect import rows_of
from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.integer_products import FULL, largest_weight_code
from optimizer.attempt import attempt, attempt_on
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.calibrating import Calibrator
from optimizer.quantization.capture import rough_table
from optimizer.quantization.corrections.catalogue import ALL, Correction, left_out
from optimizer.quantization.corrections.concat_scale import EqualizeConcatBranches
from optimizer.quantization.corrections.conditioning import ConditionActivations
from optimizer.quantization.corrections.range_search import refine_ranges
from optimizer.quantization.corrections.reconstruction import Rounding, Variant, correct_biases, reconstruct
from optimizer.quantization.corrections.sensitivity import best_relief, measure, sample_count
from optimizer.quantization.cpu_placement import place_for_cpu
from optimizer.quantization.cpu_qdq import insert_for_cpu
from optimizer.quantization.fake_quantize import quantizers
from optimizer.quantization.headroom import growth, raw_inputs, unclipped
from optimizer.quantization.judging import close_to_best, in_db, output_noise
from optimizer.quantization.placement import place
from optimizer.quantization.points import Form, Placement
from optimizer.quantization.qdq import QuantizedWeight, insert
from optimizer.quantization.rewriting import PROOF_FEEDS, ExactRewrite, Step, rewritten
from optimizer.quantization.weights import mse_scales

CORRECTION_MACS = 2e10
FEWEST, MOST = 4, 96
"""Samples that corrections measure on: those ``CORRECTION_MACS`` pay for, within these bounds."""
GOOD_ENOUGH = 10**-4.5
"""Relative noise power (45 dB) below which no op is taken out of int8."""
SEARCHED = "output search"
CLEARLY = 0.93
"""Noise after rounding by least squares, relative to plain rounding's, at which it is taken (0.3 dB less): closer than
that the samples it is judged on do not tell, and plain rounding has fitted nothing to the others."""
JUDGED_MACS = 1.5e10
"""Models with more multiply-accumulates per sample take the first range method: judging runs them many times."""
SWEPT_MACS = 2e12
"""Multiply-accumulates a sensitivity sweep may take; beyond, no op is relieved."""
JUDGED_SAMPLES = 64
"""Most samples on which range methods are judged, unseen by corrections: a clipped tail shows only in many."""


@dataclass(frozen=True)
class QuantizeSettings:
    """``corrections`` are those to make. ``keep_float`` maps node names to why they stay in high precision; ``costs``
    are MACs per sample by node name. ``float_share`` is the part of all MACs that may stay out of int8 because it
    causes most of the error. ``code_max`` is the largest weight code of the CPU form; None asks this CPU.
    """

    form: Form = Form.TENSORRT
    keep_float: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, int] = field(default_factory=dict)
    corrections: frozenset[Correction] = ALL
    float_share: float = 0.095
    code_max: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class QuantizedModel:
    """The graph with Q/DQ in it, and how it came about. ``placement.quantizes`` is False where nothing could be."""

    model: ir.Model
    placement: Placement
    plan: PrecisionPlan
    table: CalibrationTable
    notes: tuple[str, ...]


def quantize(
    model: ir.Model,
    calibrator: Calibrator,
    settings: QuantizeSettings | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> QuantizedModel:
    """Quantize a copy of ``model`` (its weights are shared, not copied) in the form ``settings.form``.

    Corrections hold and measure on the first few feeds of ``calibrator``, as many as the cost allows. Of several tables
    the one with the least output error is taken, and a note says so. ``on_step`` hears what begins.
    """
    settings = settings or QuantizeSettings()
    work = model.clone()
    notes = [note] if (note := left_out(settings.corrections)) else []
    if settings.form is Form.ONNXRUNTIME and (settings.code_max or largest_weight_code()) < FULL:
        notes.append("weights of 7 bits for the CPU: products of 8-bit codes saturate on this one (no VNNI)")
    if not _place(work, settings, None).tensors:
        return _nothing_to_do(work, settings)
    stream = iter(calibrator.samples())
    feeds = list(islice(stream, affordable(settings.costs)))
    judged = list(islice(stream, min(4 * len(feeds), JUDGED_SAMPLES))) or feeds
    on_step("making the float graph easier to quantize")
    work, said = _rewrite(work, feeds, calibrator, settings)
    notes.extend(said)
    names = _place(work, settings, None).tensors
    sources = raw_inputs(work, names)
    grown = growth(rows_of(calibrator.samples(), calibrator.joinable), set(sources.values()))
    notes += [
        f"{name}: grows {by:.2f} times from an eighth of the samples to all; given room for as much again"
        for name, by in grown.items()
        if by > 1
    ]
    tables = {name: unclipped(table, sources, grown) for name, table in calibrator.tables(work, names).items()}
    on_step("choosing ranges and rounding weights")
    chosen, how = _choose(work, tables, feeds, judged, settings)
    notes.extend(how)
    table, placement, roundings = chosen.table, chosen.placement, chosen.roundings
    settled = chosen.settled
    relieved: dict[str, str] = {}
    measured: dict[str, float] = {}
    if settings.form is Form.TENSORRT and Correction.RELIEF in settings.corrections:
        on_step("measuring how much error each op causes")
        relieve = partial(_relieve, work, placement, table, feeds, settings, settled)
        (relieved, measured), failed = attempt("measuring how much error each op causes", relieve, (relieved, measured))
        notes.extend([*failed, *(f"{node}: {reason}" for node, reason in relieved.items())])
        settings = replace(settings, keep_float={**settings.keep_float, **relieved})
        placement = _place(work, settings, table)
        roundings = [rounding for rounding in roundings if rounding.node not in relieved]
    if roundings:
        correct = partial(correct_biases, roundings=roundings)
        work, note, failed = attempt_on("bias correction", work, correct, "")
        notes += [note] if note else failed
    _insert(work, placement, table, settled)
    return QuantizedModel(work, placement, _with_costs(placement.plan, measured), table, tuple(notes))


def _with_costs(plan: PrecisionPlan, measured: Mapping[str, float]) -> PrecisionPlan:
    """``plan`` with the output SQNR of each node that was measured alone in int8."""
    nodes = {name: replace(node, cost_db=measured.get(name)) for name, node in plan.nodes.items()}
    return PrecisionPlan(nodes, plan.notes)


def _rewrite(
    model: ir.Model, feeds: Sequence[Feed], calibrator: Calibrator, settings: QuantizeSettings
) -> tuple[ir.Model, list[str]]:
    """Exact changes to the float graph that make it easier to quantize, proved: the changed copy, and notes."""

    def branches(graph: ir.Model) -> EqualizeConcatBranches:
        return EqualizeConcatBranches(rough_table(graph, _place(graph, settings, None).tensors, feeds))

    def channels(graph: ir.Model) -> ConditionActivations:
        points = place(graph, form=Form.TENSORRT, keep_float=settings.keep_float).activations
        symmetric = settings.form is Form.TENSORRT
        return ConditionActivations(
            points, feeds, symmetric=symmetric, seed=settings.seed, extremes=calibrator.extremes
        )

    made: dict[Correction, Callable[[ir.Model], ExactRewrite]] = {
        Correction.BRANCHES: branches,
        Correction.CHANNELS: channels,
    }
    steps = [Step(item.what, make) for item, make in made.items() if item in settings.corrections]
    return rewritten(model, steps, spread(feeds, PROOF_FEEDS))


@dataclass(frozen=True)
class _Candidate:
    """One table, the placement it leads to, and the weights rounded for it (none before reconstruction)."""

    table: CalibrationTable
    placement: Placement
    roundings: list[Rounding] = field(default_factory=list)

    @property
    def settled(self) -> dict[str, QuantizedWeight]:
        return {rounding.tensor: rounding.weight for rounding in self.roundings}

    def quantize(self, model: ir.Model) -> None:
        """Quantize ``model`` in place, biases corrected."""
        if self.roundings:
            correct_biases(model, self.roundings)
        _insert(model, self.placement, self.table, self.settled)


def _choose(
    model: ir.Model,
    tables: dict[str, CalibrationTable],
    feeds: Sequence[Feed],
    judged: Sequence[Feed],
    settings: QuantizeSettings,
) -> tuple[_Candidate, list[str]]:
    """The best of the given tables and a searched one by output error on ``judged``; of two close ones, after rounding
    by least squares, which sees ``feeds`` only and is taken where it clearly lessens the error of ``judged``.
    """
    first = next(iter(tables.values()))
    placement = _place(model, settings, first)
    if len(tables) == 1 or not placement.quantizes:
        return _only(model, first, feeds, settings)
    if sum(settings.costs.values()) > JUDGED_MACS:
        return _only(model, first, feeds, settings, f"ranges by {next(iter(tables))}: too heavy to judge others")
    notes: list[str] = []
    if Correction.RANGES in settings.corrections:
        search = partial(refine_ranges, model, placement, first, feeds, seed=settings.seed)
        searched, notes = attempt(f"range search ({Correction.RANGES.what})", search, first)
        if searched.tensors != first.tensors:
            tables[SEARCHED] = searched
    found = _rounded(model, tables, feeds, settings, notes, solve=False)
    noise, failed = output_noise(model, {name: candidate.quantize for name, candidate in found.items()}, judged)
    notes += failed
    if not noise:
        return found[next(iter(found))], notes
    notes.append(f"ranges judged by output error: {in_db(noise)}")
    if Correction.ROUNDING in settings.corrections:
        solved = _rounded(model, {name: tables[name] for name in close_to_best(noise)}, feeds, settings, notes)
        after, failed = output_noise(model, {name: candidate.quantize for name, candidate in solved.items()}, judged)
        notes += [*failed, f"and after rounding by least squares: {in_db(after)}"] if after else failed
        if after and min(after.values()) < CLEARLY * min(noise.values()):
            found, noise = solved, after
        else:
            notes.append("weights rounded plainly: least squares did not clearly lessen the error of unseen samples")
    best = next(iter(noise))
    notes.append(f"ranges chosen: {best}")
    return replace(found[best], table=replace(found[best].table, method=f"auto: {best}")), notes


def _only(
    model: ir.Model, table: CalibrationTable, feeds: Sequence[Feed], settings: QuantizeSettings, *notes: str
) -> tuple[_Candidate, list[str]]:
    said = list(notes)
    return _rounded(model, {"": table}, feeds, settings, said)[""], said


def _rounded(
    model: ir.Model,
    tables: Mapping[str, CalibrationTable],
    feeds: Sequence[Feed],
    settings: QuantizeSettings,
    notes: list[str],
    *,
    solve: bool = True,
) -> dict[str, _Candidate]:
    """A candidate per table: weights rounded for its ranges (by least squares, or plainly) and biases corrected.

    ``notes`` hear of what could not be done.
    """
    placements = {name: _place(model, settings, table) for name, table in tables.items()}
    variants = {
        name: Variant(placement, quantizers(model, placement, tables[name]))
        for name, placement in placements.items()
        if settings.corrections & {Correction.ROUNDING, Correction.BIAS} and placement.quantizes
    }
    solve, biased = solve and Correction.ROUNDING in settings.corrections, Correction.BIAS in settings.corrections
    rounding = partial(reconstruct, model, variants, feeds, solve=solve, biased=biased, seed=settings.seed, notes=notes)
    roundings: dict[str, list[Rounding]] = {}
    if variants:
        roundings, failed = attempt("rounding of weights and correction of biases", rounding, roundings)
        notes += failed
    return {name: _Candidate(tables[name], placements[name], roundings.get(name, [])) for name in tables}


def _relieve(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    feeds: Sequence[Feed],
    settings: QuantizeSettings,
    settled: Mapping[str, QuantizedWeight],
) -> tuple[dict[str, str], dict[str, float]]:
    """Nodes to leave in high precision within the MAC budget with the measured reason, and every node's SQNR in dB."""
    costs = settings.costs
    total = sum(costs.values())
    spent = sum(cost for node, cost in costs.items() if placement.plan.nodes[node].dtype is not Dtype.INT8)
    budget = settings.float_share * total - spent
    if budget <= 0 or not placement.quantizes or len(placement.weights) * total > SWEPT_MACS:
        return {}, {}
    count = sample_count(len(placement.weights), total, len(feeds))
    found = measure(model, placement, table, spread(feeds, count), settled=settled)
    measured = {item.node: item.sqnr_db for item in found}
    if sum(item.noise for item in found) < GOOD_ENOUGH:
        return {}, measured
    chosen = best_relief(found, costs, budget=budget)
    reasons = {
        node: f"measured: causes {part:.0%} of the int8 error for {costs[node] / total:.1%} of the MACs"
        for node, part in chosen.items()
    }
    return reasons, measured


def affordable(costs: Mapping[str, int]) -> int:
    """How many samples corrections measure on: enough rows for small models, few runs of heavy ones."""
    total = sum(costs.values())
    return int(min(max(CORRECTION_MACS / max(total, 1), FEWEST), MOST))


def spread(feeds: Sequence[Feed], count: int) -> list[Feed]:
    """``count`` of the feeds, evenly spaced."""
    return [feeds[i * len(feeds) // count] for i in range(min(count, len(feeds)))]


def _place(model: ir.Model, settings: QuantizeSettings, table: CalibrationTable | None) -> Placement:
    if settings.form is Form.ONNXRUNTIME:
        code_max = largest_weight_code() if settings.code_max is None else settings.code_max
        return place_for_cpu(
            model, keep_float=settings.keep_float, costs=settings.costs, table=table, code_max=code_max
        )
    return place(model, form=settings.form, keep_float=settings.keep_float, costs=settings.costs, table=table)


def _insert(
    model: ir.Model, placement: Placement, table: CalibrationTable, settled: Mapping[str, QuantizedWeight]
) -> None:
    put = insert_for_cpu if placement.form is Form.ONNXRUNTIME else insert
    put(model, placement, table, weight_scales=partial(mse_scales, top=placement.code_max), settled=settled)


def _nothing_to_do(model: ir.Model, settings: QuantizeSettings) -> QuantizedModel:
    placement = _place(model, settings, None)
    note = (
        "no node can be quantized: the model has no convolution or matrix product with constant weights of useful size"
    )
    empty = CalibrationTable({}, "none", 0, False, "", "", notes=[note])
    return QuantizedModel(model, replace(placement, notes=(note,)), placement.plan, empty, (note,))
