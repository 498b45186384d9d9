"""A retrained model prepared by what preparing its predecessor decided: nothing is searched for, all of it is checked.

Ranges, rewrites, how weights are rounded and what stays in high precision are those of an earlier bundle. Two checks
tell whether they still fit: how far activations reach now, and the noise at the outputs. Weights are rounded and biases
corrected anew, for those are other numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import onnx_ir as ir

from calibration.collect import collect
from calibration.statistics import StatisticNeeds
from calibration.table import CalibrationTable, TensorRange
from graphs.errors import first_few
from optimizer.corrections import Correction
from optimizer.precision import PrecisionPlan
from optimizer.quantization.choices import Choices, Rewrites
from optimizer.quantization.choosing.candidates import Candidate, choose
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.corrections.concat_scale import EqualizeConcatBranches
from optimizer.quantization.corrections.equalization import EqualizeActivations
from optimizer.quantization.corrections.transforms import Transform
from optimizer.quantization.judging.judge import Judge, in_db
from optimizer.quantization.judging.rewriting import REWRITE_FEEDS, Step, rewritten
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.observing.sampling import Samples, divided, spread
from optimizer.quantization.placement.place import place
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.settings import QuantizeSettings, placed
from optimizer.settings.asked_plan import AskedPlan

MOVED = 1.25
"""How many times further, or less far, than it did an activation may reach: the step of its codes is then 2 dB from
where calibration would put it."""
NAMED = 3
"""Activations without a range that a message names. Chosen."""
NOISIER = 2.0
"""Noise at the outputs, relative to what it was, from which calibration is made anew (3 dB). Chosen: on the demo with 1
to 5 % of noise in its weights, kept ranges had up to 2.9 dB more."""


@dataclass(frozen=True)
class Known:
    """What a bundle holds of one form: ``source`` names the bundle in messages."""

    source: str
    plan: PrecisionPlan
    table: CalibrationTable
    choices: Choices


@dataclass(frozen=True)
class Again:
    """``prepared`` is None where what was known no longer fits, and ``why`` says so."""

    prepared: Prepared | None
    why: str = ""


def prepare_again(
    model: ir.Model,
    calibrator: Calibrator,
    settings: QuantizeSettings,
    known: Known,
    on_step: Callable[[str], None] = lambda _: None,
) -> Again:
    """``model`` prepared as ``known`` was; its nodes and tensors have the names they have there."""
    choices, samples = known.choices, divided(calibrator.samples(), settings.costs)
    on_step("checking the ranges")
    work, notes = _rewritten(model.clone(), samples, settings, choices.rewrites)
    asked = replace(settings, float_results=frozenset(choices.float_results))
    names = placed(work, asked, None).tensors
    if missing := [name for name in names if name not in known.table.tensors]:
        return Again(None, why=f"{known.source} has no range of {first_few(map(repr, missing), NAMED)}")
    ranges = {name: known.table.tensors[name] for name in names}
    ratios = _ratios(work, ranges, known.table.samples, calibrator)
    if moved := {name: by for name, by in ratios.items() if not 1 / MOVED <= by <= MOVED}:
        return Again(None, why=_of_moved(moved, len(names)))
    on_step("rounding weights")
    asked = _kept_float(asked, work, known)
    judge = Judge(work, on_cpu=settings.scheme.integer_results)
    chosen, said = _rounded(work, known, samples, asked, judge)
    noise, failed = judge.noise({"now": chosen.quantize}, samples.judged)
    if why := _of_noise(noise.get("now"), choices.noise, failed):
        return Again(None, why=why)
    table = replace(chosen.table, model_digest=calibrator.model_digest, notes=[f"ranges kept from {known.source}"])
    chosen = replace(chosen, noise=noise.get("now"), table=table)
    found = Prepared(
        work,
        replace(asked, corrections=settings.corrections),
        chosen,
        (),
        (f"calibrated as in {known.source}: {known.table.method}", *notes, *said, *failed),
        samples.judged,
        judge,
        rewrites=choices.rewrites,
        calibrated_noise=choices.noise,
        again=_of_fit(ratios, noise.get("now"), choices.noise),
    )
    return Again(found)


def _rewritten(
    model: ir.Model, samples: Samples, settings: QuantizeSettings, rewrites: Rewrites
) -> tuple[ir.Model, list[str]]:
    """The exact rewrites of before, verified on this graph."""

    def branches(_: ir.Model) -> EqualizeConcatBranches:
        ranges = {name: TensorRange(-a, a, -a, a, a, "as before") for name, a in rewrites.branches.items()}
        return EqualizeConcatBranches(CalibrationTable(ranges, "as before", 0, True, "", ""))

    def channels(graph: ir.Model) -> EqualizeActivations:
        points = place(graph, scheme=TENSORRT, keep_float=settings.keep_float).activations
        return EqualizeActivations(points, samples.feeds, scheme=settings.scheme, chosen=transforms)

    transforms = {
        name: Transform(np.asarray(t.shift, np.float32), np.asarray(t.scale, np.float32))
        for name, t in rewrites.channels.items()
    }
    steps = [Step(Correction.BRANCHES.what, branches)] if rewrites.branches else []
    steps += [Step(Correction.CHANNELS.what, channels)] if transforms else []
    return rewritten(model, steps, spread(samples.feeds, REWRITE_FEEDS))


def _ratios(
    model: ir.Model,
    ranges: Mapping[str, TensorRange],
    seen: int,
    calibrator: Calibrator,
) -> dict[str, float]:
    """How far each activation reaches now, relative to what it did on ``seen`` samples: on as many, for fewer do not
    meet the ends. Infinite for one that was always zero and is not.
    """
    needs = [StatisticNeeds(name, histogram=False) for name in ranges]
    found = collect(model, needs, islice(calibrator.samples(), seen), batchable=calibrator.batchable)
    known = {name: max(abs(kept.minimum), abs(kept.maximum)) for name, kept in ranges.items()}
    return {name: _ratio(found[name].absmax, reach) for name, reach in known.items()}


def _ratio(now: float, before: float) -> float:
    if before:
        return now / before
    return math.inf if now else 1.0


def _kept_float(settings: QuantizeSettings, model: ir.Model, known: Known) -> QuantizeSettings:
    """``settings`` with what stayed in high precision staying there, each node for the reason it had."""
    plan = placed(model, settings, known.table).plan
    asked = AskedPlan.of_plan(known.plan)
    stays = asked.kept_float(plan, weighted_only=settings.scheme.integer_results)
    reasons = {name: known.plan.nodes[name].reason if name in known.plan.nodes else why for name, why in stays.items()}
    return replace(settings, keep_float={**settings.keep_float, **reasons})


def _rounded(
    model: ir.Model, known: Known, samples: Samples, settings: QuantizeSettings, judge: Judge
) -> tuple[Candidate, list[str]]:
    """The known ranges with weights rounded, and biases corrected, in the way that was best before."""
    made = {Correction.ROUNDING: known.choices.solved, Correction.BIAS: known.choices.biased}
    corrections = settings.corrections - {item for item, wanted in made.items() if not wanted}
    return choose(model, {"": known.table}, samples, replace(settings, corrections=corrections), judge)


def _of_moved(moved: Mapping[str, float], of: int) -> str:
    worst = max(moved, key=lambda name: abs(np.log(max(moved[name], 1e-30))))
    by = moved[worst]
    how = "was always zero, and is not" if math.isinf(by) else f"reaches {by:.2f} times as far as it did"
    return f"{len(moved)} of {of} ranges moved: {worst!r} {how}"


def _of_noise(noise: float | None, before: float | None, failed: Sequence[str]) -> str:
    """Why the noise at the outputs speaks against what was known; empty where it does not, or was not known."""
    if before is None:
        return ""
    if noise is None:
        return f"the noise at the outputs is not known: {'; '.join(failed)}"
    if noise <= NOISIER * before:
        return ""
    return f"the outputs have less signal to noise: {in_db({'before': before, 'now': noise})}"


def _of_fit(ratios: Mapping[str, float], noise: float | None, before: float | None) -> str:
    """What was found, in words."""
    told = [f"{len(ratios)} ranges within {100 * (MOVED - 1):.0f} % of what they were"] if ratios else []
    if noise is not None and before is not None:
        told.append(f"signal to noise at the outputs: {in_db({'before': before, 'now': noise})}")
    return "; ".join(told) or "nothing to check"
