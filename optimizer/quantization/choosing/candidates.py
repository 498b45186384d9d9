"""Range tables and roundings to choose from, judged by the error they leave at the model's outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.freed_memory import give_back_freed
from optimizer.attempt import attempt
from optimizer.corrections import Correction
from optimizer.quantization.codes.weights import QuantizedWeight, WeightScales
from optimizer.quantization.corrections.fallback import RUINED
from optimizer.quantization.corrections.input_rows import InputRows, solvable
from optimizer.quantization.corrections.range_search import refine_ranges
from optimizer.quantization.corrections.rounding import Rounding, Variant, correct_biases, round_weights
from optimizer.quantization.judging.judge import CLEARLY, Judge, close_to_best, in_db
from optimizer.quantization.observing.sampling import FEW, Samples
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.settings import QuantizeSettings, inserted, placed

SEARCHED = "output search"
JUDGED_MACS = 1.5e10
"""Models with more multiply-accumulates per sample take the first range method: judging runs them many times.
Chosen."""


@dataclass(frozen=True)
class Candidate:
    """One table, the placement it leads to, and the weights rounded for it (none before rounding); ``noise`` is what it
    did to the outputs where it was judged. ``scales`` are those of weights rounded plainly; ``solved``: least squares
    rounded them where that was better.
    """

    table: CalibrationTable
    placement: Placement
    scales: WeightScales
    roundings: list[Rounding] = field(default_factory=list)
    noise: float | None = None
    solved: bool = False

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
    def biased(self) -> bool:
        """Whether a bias is changed."""
        return any(rounding.weight.bias is not None for rounding in self.roundings)

    @property
    def settled(self) -> dict[str, QuantizedWeight]:
        return {rounding.tensor: rounding.weight for rounding in self.roundings}

    def quantize(self, model: ir.Model) -> None:
        """Quantize ``model`` in place, biases corrected."""
        if self.roundings:
            correct_biases(model, self.roundings)
        inserted(model, self.placement, self.table, self.settled, self.scales)


def choose(
    model: ir.Model,
    tables: Mapping[str, CalibrationTable],
    samples: Samples,
    settings: QuantizeSettings,
    judge: Judge,
    kept: Collection[str] = (),
) -> tuple[Candidate, list[str]]:
    """The best of the given tables and a searched one by output error on judged samples; of two close ones, after
    rounding by least squares, taken where it clearly lessens the error of samples it has not seen (of its own, where
    there are no others: it judges every weight on samples that it was not made from). Ranges of ``kept`` are not
    searched. Of fewer than ``FEW`` samples weights are rounded plainly.
    """
    choice = _Choice(model, samples, settings, judge, kept)
    return choice.made(dict(tables)), choice.notes


class _Choice:
    """One choice being made: rows are captured once for all its steps, and ``notes`` hear of each."""

    def __init__(
        self, model: ir.Model, samples: Samples, settings: QuantizeSettings, judge: Judge, kept: Collection[str]
    ) -> None:
        self._model, self._samples, self._judge, self._kept = model, samples, judge, kept
        self._settings, self._asked = settings, settings.corrections
        self._rows = InputRows(model, samples.feeds, seed=settings.seed)
        self._scales = WeightScales()
        self._biased = Correction.BIAS in settings.corrections
        self._solves = Correction.ROUNDING in settings.corrections and not samples.few
        self.notes: list[str] = []
        if samples.few and Correction.ROUNDING in settings.corrections:
            told = f"weights rounded plainly: least squares takes {FEW} samples to be told from chance"
            self.notes.append(f"{told}, there are {len(samples.every)}")

    def made(self, tables: dict[str, CalibrationTable]) -> Candidate:
        samples, first = self._samples, next(iter(tables.values()))
        placement = placed(self._model, self._settings, first)
        if len(tables) == 1 or not placement.quantizes:
            return self._rounded({"": first}, samples.feeds)[""]
        if sum(self._settings.costs.values()) > JUDGED_MACS:
            self.notes.append(f"ranges by {next(iter(tables))}: too heavy to judge others")
            return self._rounded({"": first}, samples.feeds)[""]
        if self._asked & {Correction.RANGES, Correction.ROUNDING, Correction.BIAS}:
            _, failed = attempt("capture of ops' inputs", partial(self._keep_rows, placement), None)
            self.notes += failed
        if (searched := self._searched(placement, first)) is not None:
            tables = {SEARCHED: searched, **tables}  # often the best: others are left the sooner
        found = self._rounded(tables, samples.feeds, solve=False)
        if not self._solves:  # nobody asks for rows again, and judging takes memory of its own
            self._rows.release()
            give_back_freed()
        noise = self._noise(found, samples.judged, racing=True)
        if not noise:
            return found[next(iter(found))]
        self.notes.append(f"ranges judged by output error: {in_db(noise)}")
        found, noise = self._without_biases(found, noise)
        if self._solves:
            found, noise = self._solved(found, noise)
            self._rows.release()
            give_back_freed()
        best = next(iter(noise))
        self.notes.append(f"ranges chosen: {best}")
        table = replace(found[best].table, method=f"auto: {best}")
        return replace(found[best], table=table, noise=noise[best])

    def _keep_rows(self, placement: Placement) -> None:
        self._rows.keep(list(solvable(self._model.graph, placement)))

    def _searched(self, placement: Placement, first: CalibrationTable) -> CalibrationTable | None:
        """``first`` with ranges moved to where ops' outputs have the least error; None where none moves."""
        if Correction.RANGES not in self._asked:
            return None
        search = partial(refine_ranges, self._rows, placement, first, self._kept)
        searched, failed = attempt(f"range search ({Correction.RANGES.what})", search, first)
        self.notes += failed
        return searched if searched.tensors != first.tensors else None

    def _without_biases(
        self, found: dict[str, Candidate], noise: dict[str, float]
    ) -> tuple[dict[str, Candidate], dict[str, float]]:
        """The best candidate alone with biases left as they are, where correcting them adds error (zeros of padding
        must stay zero for a norm); else what is given.
        """
        best = next(iter(noise))
        plain = found[best].unbiased
        if Correction.BIAS not in self._asked:
            return found, noise
        less = self._judge.clearly_less(best, plain.quantize, noise, self._samples.judged)
        if less is None:
            return found, noise
        self._biased = False
        self.notes.append(f"biases left as they are, their correction adds error: {in_db(less)} without it")
        return {best: plain}, less

    def _solved(
        self, plain: dict[str, Candidate], noise: dict[str, float]
    ) -> tuple[dict[str, Candidate], dict[str, float]]:
        """The tables close to the best with weights rounded by least squares, and their noise on judged samples; what
        is given where that does not clearly lessen it.
        """
        close = {name: plain[name].table for name in close_to_best(noise)}
        solved = self._rounded(close, self._samples.feeds)
        if not self._biased and Correction.BIAS in self._asked:  # what plain rounding's errors did not bear these may
            again = self._rounded(close, self._samples.feeds, biased=True)
            solved |= {f"{name}, biases corrected": candidate for name, candidate in again.items()}
        after = self._noise(solved, self._samples.judged)
        if after:
            self.notes.append(f"and after rounding by least squares: {in_db(after)}")
        if not after or min(after.values()) >= CLEARLY * min(noise.values()):
            self.notes.append(
                "weights rounded plainly: least squares did not clearly lessen the error of judged samples"
            )
            return plain, noise
        return solved, after

    def _noise(
        self, found: Mapping[str, Candidate], feeds: Sequence[Feed], *, racing: bool = False
    ) -> dict[str, float]:
        variants = {name: candidate.quantize for name, candidate in found.items()}
        noise, failed = self._judge.noise(variants, feeds, racing=racing)
        self.notes += failed
        return noise

    def _rounded(
        self,
        tables: Mapping[str, CalibrationTable],
        feeds: Sequence[Feed],
        *,
        solve: bool = True,
        biased: bool | None = None,
    ) -> dict[str, Candidate]:
        """A candidate per table: weights rounded for its ranges (by least squares, or plainly) and biases corrected, or
        as decided so far.
        """
        placements = {name: placed(self._model, self._settings, table) for name, table in tables.items()}
        variants = {
            name: Variant(placement, placement.quantizers(self._model, tables[name]))
            for name, placement in placements.items()
            if self._asked & {Correction.ROUNDING, Correction.BIAS} and placement.quantizes
        }
        rounding = partial(
            round_weights,
            self._rows,
            variants,
            feeds,
            self._scales,
            solve=solve and self._solves,
            biased=self._biased if biased is None else biased,
            notes=self.notes,
        )
        roundings: dict[str, list[Rounding]] = {}
        if variants:
            roundings, failed = attempt("rounding of weights and correction of biases", rounding, roundings)
            self.notes += failed
        solved = solve and self._solves
        return {
            name: Candidate(tables[name], placements[name], self._scales, roundings.get(name, []), solved=solved)
            for name in tables
        }
