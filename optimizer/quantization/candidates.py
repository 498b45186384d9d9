"""Range tables and roundings to choose from, judged by the error they leave at the model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from optimizer.attempt import attempt
from optimizer.quantization.corrections.catalogue import Correction
from optimizer.quantization.corrections.fallback import RUINED
from optimizer.quantization.corrections.gptq import Rounding, Variant, correct_biases, round_weights
from optimizer.quantization.corrections.range_search import refine_ranges
from optimizer.quantization.fake_quantize import quantizers
from optimizer.quantization.insertion_points import Placement
from optimizer.quantization.judging import CLEARLY, clearly_less, close_to_best, in_db, output_noise
from optimizer.quantization.qdq import QuantizedWeight
from optimizer.quantization.sampling import Samples
from optimizer.quantization.settings import QuantizeSettings, inserted, placed

SEARCHED = "output search"
JUDGED_MACS = 1.5e10
"""Models with more multiply-accumulates per sample take the first range method: judging runs them many times."""


@dataclass(frozen=True)
class Candidate:
    """One table, the placement it leads to, and the weights rounded for it (none before reconstruction); ``noise`` is
    what it did to the outputs where it was judged.
    """

    table: CalibrationTable
    placement: Placement
    roundings: list[Rounding] = field(default_factory=list)
    noise: float | None = None

    @property
    def usable(self) -> bool:
        """Whether its noise, where it was judged, leaves a model of use."""
        return self.noise is None or self.noise <= RUINED

    @property
    def unbiased(self) -> Candidate:
        """The same without any change of a bias."""
        kept = [replace(rounding, weight=replace(rounding.weight, bias=None)) for rounding in self.roundings]
        return replace(self, roundings=kept)

    @property
    def settled(self) -> dict[str, QuantizedWeight]:
        return {rounding.tensor: rounding.weight for rounding in self.roundings}

    def quantize(self, model: ir.Model) -> None:
        """Quantize ``model`` in place, biases corrected."""
        if self.roundings:
            correct_biases(model, self.roundings)
        inserted(model, self.placement, self.table, self.settled)


def choose(
    model: ir.Model,
    tables: dict[str, CalibrationTable],
    samples: Samples,
    settings: QuantizeSettings,
) -> tuple[Candidate, list[str]]:
    """The best of the given tables and a searched one by output error on judged samples; of two close ones, after
    rounding by least squares, taken where it clearly lessens the error of samples it has not seen (of its own, where
    those are many and there are no others: it proves every weight on rows of its own).
    """
    feeds, judged = samples.feeds, samples.judged
    first = next(iter(tables.values()))
    placement = placed(model, settings, first)
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
    best, plain = next(iter(noise)), found[next(iter(noise))].unbiased  # zeros of padding must stay zero for a norm
    if Correction.BIAS in settings.corrections and (less := clearly_less(model, best, plain.quantize, noise, judged)):
        found, noise = {best: plain}, less
        settings = replace(settings, corrections=settings.corrections - {Correction.BIAS})
        notes.append(f"biases left as they are, their correction adds error: {in_db(noise)} without it")
    if Correction.ROUNDING in settings.corrections:
        solved, after = _solved(model, noise, tables, samples, settings, notes)
        if after:
            found, noise = solved, after
        else:
            notes.append("weights rounded plainly: least squares did not clearly lessen the error of judged samples")
    best = next(iter(noise))
    notes.append(f"ranges chosen: {best}")
    table = replace(found[best].table, method=f"auto: {best}")
    return replace(found[best], table=table, noise=noise[best]), notes


def _solved(
    model: ir.Model,
    noise: Mapping[str, float],
    tables: Mapping[str, CalibrationTable],
    samples: Samples,
    settings: QuantizeSettings,
    notes: list[str],
) -> tuple[dict[str, Candidate], dict[str, float]]:
    """The tables close to the best with weights rounded by least squares, and their noise on judged samples; nothing
    where that does not clearly lessen the noise of unseen ones. ``notes`` hear of it.
    """
    close = {name: tables[name] for name in close_to_best(noise)}
    solved = _rounded(model, close, samples.fit, settings, notes)
    after, failed = output_noise(
        model, {name: candidate.quantize for name, candidate in solved.items()}, samples.unseen
    )
    notes += [*failed, f"and after rounding by least squares: {in_db(after)}"] if after else failed
    enough = CLEARLY
    if samples.unseen is not samples.judged:
        plain = _rounded(model, close, samples.fit, settings, notes, solve=False)
        noise, failed = output_noise(model, {name: item.quantize for name, item in plain.items()}, samples.unseen)
        notes += [*failed, f"without it, on the same samples: {in_db(noise)}"]
        enough = 1.0  # it will be made from more samples than it was judged by
    if not after or not noise or min(after.values()) >= enough * min(noise.values()):
        return {}, {}
    if samples.unseen is not samples.judged:
        solved = _rounded(model, {name: tables[name] for name in after}, samples.feeds, settings, notes)
        after, failed = output_noise(
            model, {name: candidate.quantize for name, candidate in solved.items()}, samples.judged
        )
        notes += failed
    return solved, after


def _only(
    model: ir.Model, table: CalibrationTable, feeds: Sequence[Feed], settings: QuantizeSettings, *notes: str
) -> tuple[Candidate, list[str]]:
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
) -> dict[str, Candidate]:
    """A candidate per table: weights rounded for its ranges (by least squares, or plainly) and biases corrected.

    ``notes`` hear of what could not be done.
    """
    placements = {name: placed(model, settings, table) for name, table in tables.items()}
    variants = {
        name: Variant(placement, quantizers(model, placement, tables[name]))
        for name, placement in placements.items()
        if settings.corrections & {Correction.ROUNDING, Correction.BIAS} and placement.quantizes
    }
    solve, biased = solve and Correction.ROUNDING in settings.corrections, Correction.BIAS in settings.corrections
    rounding = partial(
        round_weights, model, variants, feeds, solve=solve, biased=biased, seed=settings.seed, notes=notes
    )
    roundings: dict[str, list[Rounding]] = {}
    if variants:
        roundings, failed = attempt("rounding of weights and correction of biases", rounding, roundings)
        notes += failed
    return {name: Candidate(tables[name], placements[name], roundings.get(name, [])) for name in tables}
