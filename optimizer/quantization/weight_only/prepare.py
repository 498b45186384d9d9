"""From a float graph to weights in codes: inputs scaled, weights rounded, and what that does to the outputs judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from graphs.reading.weighted import WeightedOp
from optimizer.attempt import attempt
from optimizer.corrections import Correction
from optimizer.quantization.choosing.candidates import JUDGED_MACS, Candidate
from optimizer.quantization.codes.weights import WeightScales, as_float32
from optimizer.quantization.corrections.rounding import Rounding
from optimizer.quantization.judging.judge import Judge, in_db
from optimizer.quantization.judging.noise import decibels
from optimizer.quantization.judging.rewriting import REWRITE_FEEDS, Step, rewritten
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.observing.sampling import Samples, spread
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.settings import QuantizeSettings, placed
from optimizer.quantization.weight_only.moments import InputMoments, input_moments
from optimizer.quantization.weight_only.rounding import as_weight, plainly, rounded
from optimizer.quantization.weight_only.scaling import ScaleInputs, codes_by_node, readers_of
from optimizer.reconstruction.layout import as_rows

FEW_BITS = 4
"""Bits of a code, at most, for inputs to be scaled: with the 8 of INT8 there is next to nothing to gain. Chosen."""


MOMENT_MACS = 4e11
"""Multiply-accumulates that a pass for moments may take, some 20 seconds on two cores: MiniLM's weights, rounded for
a hundred samples in place of ten, gained 0.7 dB on texts of another kind than those. Chosen."""
FEED_BYTES = 256 << 20
"""And bytes of the samples that are held for it. Chosen."""


def moment_feeds(calibrator: Calibrator, samples: Samples, settings: QuantizeSettings) -> list[Feed]:
    """Samples that weights are rounded for: those of other corrections and all that follow which nothing is judged on,
    as many as ``MOMENT_MACS`` pay for.
    """
    feeds = list(samples.fit)
    passed = len(samples.every)
    most = int(MOMENT_MACS / max(sum(settings.costs.values()), 1))
    held = sum(array.nbytes for feed in feeds for array in feed.values())
    for feed in islice(calibrator.samples(), passed, passed + max(most - len(feeds), 0)):
        held += sum(array.nbytes for array in feed.values())
        if held > FEED_BYTES:
            break
        feeds.append(feed)
    return feeds


def prepare_weights(
    model: ir.Model,
    calibrator: Calibrator,
    samples: Samples,
    settings: QuantizeSettings,
    on_step: Callable[[str], None],
) -> tuple[ir.Model, Candidate, list[str]]:
    """``model`` with its inputs scaled (a copy), weights in codes for it, and notes."""
    notes: list[str] = []
    feeds = moment_feeds(calibrator, samples, settings)
    if settings.scheme.weight_only and _few(settings) and Correction.CHANNELS in settings.corrections:
        on_step("scaling inputs")
        step = Step(Correction.CHANNELS.what, lambda graph: ScaleInputs(placed(graph, settings, None), feeds))
        model, notes = rewritten(model, [step], spread(samples.feeds, REWRITE_FEEDS))
    on_step("rounding weights")
    table = _table(model, calibrator, settings)
    placement = placed(model, settings, table)
    solve = Correction.ROUNDING in settings.corrections
    roundings, failed = attempt(
        Correction.ROUNDING.what, partial(_roundings, model, placement, feeds, solve), list[Rounding]()
    )
    notes += failed
    ours = Candidate(table, placement, WeightScales(), roundings or _plain(model, placement))
    if not solve or sum(settings.costs.values()) > JUDGED_MACS:
        return model, ours, notes
    plain = replace(ours, roundings=_plain(model, placement))
    tried = {"rounded for the data": ours, "rounded to nearest": plain}
    noise, failed = Judge(model).noise({name: tried[name].quantize for name in tried}, samples.judged)
    notes += failed
    if not noise:
        return model, ours, notes
    notes.append(f"weights judged by output error: {in_db(noise)}")
    best = next(iter(noise))
    return model, replace(tried[best], noise=noise[best]), notes


def _few(settings: QuantizeSettings) -> bool:
    return settings.scheme.weights.numbers.dtype.bitwidth <= FEW_BITS


def _table(model: ir.Model, calibrator: Calibrator, settings: QuantizeSettings) -> CalibrationTable:
    """Extremes of the activations that have a scale of their own, for those of blocks to stand under."""
    if numbers := placed(model, settings, None).numbers:
        return next(iter(calibrator.tables(model, numbers)[0].values()))
    return CalibrationTable({}, "weights alone", 0, calibrator.calibrated, "", "")


def _roundings(model: ir.Model, placement: Placement, feeds: Sequence[Feed], solve: bool) -> list[Rounding]:
    found: list[Rounding] = []
    readers = readers_of(model, placement)
    for moments in input_moments(model, readers, feeds):
        for name, known in moments.items():
            found += [_rounding(op, placement, known, solve) for op in readers[name]]
    return found


def _plain(model: ir.Model, placement: Placement) -> list[Rounding]:
    return [_rounding(op, placement, None, False) for ops in readers_of(model, placement).values() for op in ops]


def _rounding(op: WeightedOp, placement: Placement, moments: InputMoments | None, solve: bool) -> Rounding:
    name = str(op.node.name)
    scheme, rows = codes_by_node(placement)[name], as_rows(op, as_float32(op.tensor))
    if moments is None:
        return Rounding(name, str(op.weight.name), as_weight(op, plainly(rows, scheme), scheme), 0.0)
    best, left = rounded(rows, scheme, moments, solve)
    return Rounding(name, str(op.weight.name), as_weight(op, best, scheme), -decibels(left, 1e-12))
