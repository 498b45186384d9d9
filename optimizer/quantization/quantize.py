"""From a clean float graph and calibration samples to a quantized graph: the one entry point of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import onnx_ir as ir

from calibration.collect import rows_of
from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.freed_memory import give_back_freed
from engines.onnxruntime.integer_products import FULL
from optimizer.attempt import attempt
from optimizer.corrections import Correction, left_out
from optimizer.quantization.choices import ChannelTransform, Rewrites
from optimizer.quantization.choosing.candidates import choose
from optimizer.quantization.choosing.float_results import float_results
from optimizer.quantization.choosing.sweeps import measure_as_needed
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.corrections.concat_scale import EqualizeConcatBranches, joined
from optimizer.quantization.corrections.equalization import EqualizeActivations
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.judging.judge import Judge
from optimizer.quantization.judging.rewriting import REWRITE_FEEDS, ExactRewrite, Step, rewritten
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.observing.capture import rough_table
from optimizer.quantization.observing.headroom import ends, growth, mirrored, raw_inputs, roomier, sparse, unclipped
from optimizer.quantization.observing.sampling import Samples, divided, spread
from optimizer.quantization.placement.place import place
from optimizer.quantization.prepared import GOOD_ENOUGH, Prepared, QuantizedModel
from optimizer.quantization.settings import QuantizeSettings, placed
from optimizer.quantization.weight_only.prepare import prepare_weights


def quantize(
    model: ir.Model,
    calibrator: Calibrator,
    settings: QuantizeSettings | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> QuantizedModel:
    """Quantize a copy of ``model`` (its weights are shared, not copied) by the scheme ``settings.scheme``.

    Corrections hold and measure on the first few feeds of ``calibrator``, as many as the cost allows. Of several tables
    the one with the least output error is taken, and a note says so. ``on_step`` hears what begins.
    """
    settings = settings or QuantizeSettings()
    return prepare(model, calibrator, settings, on_step).quantized(settings.allowance)


def prepare(
    model: ir.Model, calibrator: Calibrator, settings: QuantizeSettings, on_step: Callable[[str], None]
) -> Prepared:
    """Everything but the choice of what stays in high precision for the error it causes, which may be made again."""
    work = model.clone()
    notes = [note] if (note := left_out(settings.corrections)) else []
    if settings.scheme.integer_results and settings.scheme.weights.highest < FULL:
        notes.append("weights of 7 bits for the CPU: products of 8-bit codes saturate on this one (no VNNI)")
    if not placed(work, settings, None).quantizes:
        return Prepared(work, settings)
    samples = divided(calibrator.samples(), settings.costs)
    if not settings.scheme.calibrated:
        return _in_weights(work, calibrator, samples, settings, notes, on_step)
    on_step("making the float graph easier to quantize")
    work, said, rewrites = _rewrite(work, samples.feeds, calibrator, settings)
    give_back_freed()
    notes.extend(said)
    tables, said, kept = _tables(work, calibrator, settings, samples)
    give_back_freed()
    notes.extend(said)
    on_step("choosing ranges and rounding weights")
    judge = Judge(work, on_cpu=settings.scheme.integer_results)
    chosen, how = choose(work, tables, samples, settings, judge, kept)
    notes.extend(how)
    if settings.scheme.integer_results and Correction.FALLBACK in settings.corrections:
        (settings, chosen), said = float_results(work, chosen, samples, settings, judge, enough=GOOD_ENOUGH)
        notes.extend(said)
    found: list[Sensitivity] = []
    if Correction.FALLBACK in settings.corrections:
        on_step("measuring how much error each op causes")
        sweep = partial(measure_as_needed, work, chosen, samples.feeds, settings)
        found, failed = attempt("measuring how much error each op causes", sweep, found)
        notes.extend(failed)
    return Prepared(work, settings, chosen, tuple(found), tuple(notes), samples.judged, judge, rewrites=rewrites)


def _in_weights(
    work: ir.Model,
    calibrator: Calibrator,
    samples: Samples,
    settings: QuantizeSettings,
    notes: list[str],
    on_step: Callable[[str], None],
) -> Prepared:
    """Of a scheme whose activations have no ranges to choose: weights alone, or blocks that are scaled as they run."""
    work, chosen, told = prepare_weights(work, calibrator, samples, settings, on_step)
    found, failed = list[Sensitivity](), list[str]()
    if Correction.FALLBACK in settings.corrections:
        on_step("measuring how much error each op causes")
        sweep = partial(measure_as_needed, work, chosen, samples.feeds, settings)
        found, failed = attempt("measuring how much error each op causes", sweep, found)
    return Prepared(work, settings, chosen, tuple(found), (*notes, *told, *failed), samples.judged, Judge(work))


def _tables(
    model: ir.Model, calibrator: Calibrator, settings: QuantizeSettings, samples: Samples
) -> tuple[dict[str, CalibrationTable], list[str], frozenset[str]]:
    """A table of every range method, raw inputs unclipped; notes; and the tensors whose ranges are not to be searched,
    since too little was seen of them.
    """
    numbers = placed(model, settings, None).numbers
    sources = raw_inputs(model, list(numbers))
    found = ends(rows_of(calibrator.samples(), calibrator.batchable), sources.values())
    grown, alike = growth(found), mirrored(found)
    notes = [
        f"{name}: grows {by:.2f} times from an eighth of the samples to all; given room for as much again"
        for name, by in grown.items()
        if by > 1
    ]
    made, reached = calibrator.tables(model, numbers, reaching=samples.few)
    tables = {name: unclipped(table, sources, grown, alike) for name, table in made.items()}
    if not samples.few:
        return tables, notes, frozenset()
    return {name: roomier(table, reached) for name, table in tables.items()}, notes, sparse(reached)


def _rewrite(
    model: ir.Model, feeds: Sequence[Feed], calibrator: Calibrator, settings: QuantizeSettings
) -> tuple[ir.Model, list[str], Rewrites]:
    """Exact changes to the float graph that make it easier to quantize, verified: the changed copy, notes, and what was
    decided on.
    """
    ranges: dict[str, float] = {}
    transforms: list[EqualizeActivations] = []

    def branches(graph: ir.Model) -> EqualizeConcatBranches:
        table = rough_table(graph, sorted(joined(graph)), feeds)
        ranges.update({name: found.amax for name, found in table.tensors.items()})
        return EqualizeConcatBranches(table)

    def channels(graph: ir.Model) -> EqualizeActivations:
        points = place(graph, scheme=TENSORRT, keep_float=settings.keep_float).activations
        deciding = calibrator.known.decisions
        found = EqualizeActivations(
            points,
            feeds,
            scheme=settings.scheme,
            seed=settings.seed,
            extremes=calibrator.extremes,
            deciding=deciding,
        )
        transforms.append(found)
        return found

    made: dict[Correction, Callable[[ir.Model], ExactRewrite]] = {
        Correction.BRANCHES: branches,
        Correction.CHANNELS: channels,
    }
    steps = [Step(item.what, make) for item, make in made.items() if item in settings.corrections]
    changed, notes = rewritten(model, steps, spread(feeds, REWRITE_FEEDS))
    channels_of = {name: transform for found in transforms for name, transform in found.chosen.items()}
    kept = {name: ChannelTransform(t.shift.tolist(), t.scale.tolist()) for name, t in channels_of.items()}
    return changed, notes, Rewrites(ranges, kept)
