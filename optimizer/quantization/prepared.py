"""A float graph made ready to quantize, and quantized as often as is asked, with this or that in high precision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from optimizer.attempt import attempt, attempt_on
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.choices import Choices, Rewrites
from optimizer.quantization.choosing.candidates import JUDGED_MACS, Candidate
from optimizer.quantization.choosing.sweeps import measure_all
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.corrections.cpu_costs import felt_costs
from optimizer.quantization.corrections.fallback import (
    Allowance,
    Fallback,
    cheap_fallback,
    choose_fallback,
)
from optimizer.quantization.corrections.rounding import correct_biases
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.judging.judge import CLEARLY, Judge, in_db
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.settings import QuantizeSettings, inserted, placed
from optimizer.settings.asked_plan import AskedPlan

GOOD_ENOUGH = 10**-4.5
"""Relative noise power (45 dB) below which no op is taken out of int8. Chosen."""


@dataclass(frozen=True)
class QuantizedModel:
    """The graph with Q/DQ in it, and how it came about. ``placement.quantizes`` is False where nothing could be.

    ``fallen_back`` are the nodes left in high precision for the error they cause, ``expected`` the noise power at the
    outputs, relative to the signal's, that measuring each op alone predicts of the others (0 where none was measured).
    ``choices`` is what a retrained successor of the model need not find out.
    """

    model: ir.Model
    placement: Placement
    plan: PrecisionPlan
    table: CalibrationTable
    notes: tuple[str, ...]
    fallen_back: frozenset[str] = frozenset()
    expected: float = 0.0
    choices: Choices | None = None


@dataclass(frozen=True)
class Prepared:
    """A float graph made easy to quantize, ranges and roundings for it, and the error that each op causes in int8.

    ``chosen`` is None where nothing can be quantized, ``found`` empty where nothing was measured; ``judged`` are the
    samples that ``chosen.noise`` was found on, by ``judge``. ``asked`` is a plan that was given, ``unnamed`` why what
    it does not name stays in high precision (empty: it does not). ``again`` tells what was checked of an earlier
    bundle's choices, by which it is; empty for one that calibration found. ``calibrated_noise`` is then that of the
    model whose ranges were calibrated: an update of an update is held against it, not against the one before, or each
    might be twice as noisy again.
    """

    model: ir.Model
    settings: QuantizeSettings
    chosen: Candidate | None = None
    found: tuple[Sensitivity, ...] = ()
    notes: tuple[str, ...] = ()
    judged: Sequence[Feed] = ()
    judge: Judge | None = None
    asked: AskedPlan | None = None
    unnamed: str = ""
    rewrites: Rewrites = field(default_factory=Rewrites)
    again: str = ""
    calibrated_noise: float | None = None

    def following(self, asked: AskedPlan, unnamed: str = "") -> Prepared:
        """The same, by a plan: nodes that it names are quantized or not as it says, where rules allow, and no measured
        error takes them out.
        """
        return replace(self, asked=asked, unnamed=unnamed)

    @cached_property
    def _by_the_plan(self) -> dict[str, str]:
        """Node -> why the plan leaves it in high precision, though it could be quantized."""
        if self.asked is None or self.chosen is None:
            return {}
        weighted_only = self.settings.scheme.integer_results  # such a runtime has no half precision
        return self.asked.kept_float(self.chosen.placement.plan, weighted_only=weighted_only, unnamed=self.unnamed)

    @property
    def table(self) -> CalibrationTable:
        """The ranges chosen; an empty table where nothing can be quantized."""
        return self.chosen.table if self.chosen is not None else _nothing_to_do(self.model, self.settings).table

    @property
    def quantizes(self) -> bool:
        """Whether anything can be quantized."""
        return self.chosen is not None and self.chosen.placement.quantizes

    def kept_float(self, allowance: Allowance) -> frozenset[str]:
        """The nodes that ``quantized`` would try to leave in high precision for the error they cause: nothing is run,
        and where they are the same, so is the graph.
        """
        return frozenset(self._fallback(allowance)[1])

    def quantized(self, allowance: Allowance) -> QuantizedModel:
        """A quantized copy in which as many ops stay in high precision as ``allowance`` lets, where that pays: noises
        add up only while they are small, so what it buys is looked at on the judged samples.
        """
        if self.chosen is None:
            return _nothing_to_do(self.model, self.settings)
        fallback, reasons = self._fallback(allowance)
        quantized = self._without(reasons, fallback.remaining)
        if not reasons or sum(self.settings.costs.values()) > JUDGED_MACS or self.judge is None:
            return _of_noise(quantized, self.chosen.noise if not reasons and not self._by_the_plan else None)
        plain = self._without({}, fallback.remaining)
        known = self.chosen.noise if not self._by_the_plan else None
        before = known or self.judge.noise_of(plain.model, self.judged)[0]
        noise, failed = self.judge.noise_of(quantized.model, self.judged)
        if noise is None or before is None or noise < CLEARLY * before:
            return _of_noise(replace(quantized, notes=(*quantized.notes, *failed)), noise)
        reached = in_db({"int8": before, f"with {len(reasons)} of them in float": noise})
        told = f"no op left out for its error: the outputs have {reached}"
        return _of_noise(replace(plain, notes=(*plain.notes, told)), before)

    def leaving_out(
        self, nodes: Collection[str], why: str, formats: Mapping[str, Scheme] | None = None
    ) -> QuantizedModel:
        """A quantized copy with exactly ``nodes`` in high precision beside what rules leave there, each for the reason
        ``why`` and what was measured of it; those of ``formats`` in a scheme of their own.
        """
        found, costs = self._as_judged(self._open(self.found), self.found), self.settings.costs
        noise, total = sum(item.noise for item in found) or 1.0, sum(costs.values()) or 1
        caused = {item.node: f"{item.noise / noise:.0%} of the int8 error for " for item in found}
        reasons = {
            str(node.name): f"{why}: {caused.get(str(node.name), '')}"
            f"{costs.get(str(node.name), 0) / total:.1%} of the MACs"
            for node in self.model.graph
            if node.name in nodes or node.name in (formats or {})
        }
        kept = {node: reason for node, reason in reasons.items() if node in nodes}
        made = self._without(kept, sum(item.noise for item in found if item.node not in nodes), formats or {})
        told = {
            name: replace(node, reason=reasons[name]) if name in (formats or {}) and name in reasons else node
            for name, node in made.plan.nodes.items()
        }
        return replace(made, plan=PrecisionPlan(told, made.plan.notes))

    def sensitivities(self) -> list[Sensitivity]:
        """What every op causes that computes in int8 and has multiply-accumulates: as measured before, or measured now
        on the judged samples where some were not; those that cannot be measured share alike.
        """
        found = {item.node: item for item in self._as_judged(self._open(self._every), self._every)}
        usual = sum(item.noise for item in found.values()) / len(found) if found else 1.0
        wanted = self._in_int8
        nodes = self.chosen.placement.plan.nodes if self.chosen is not None else ()
        return [found.get(name) or Sensitivity(name, usual) for name in nodes if name in wanted or name in found]

    def sensitivities_in(self, scheme: Scheme) -> list[Sensitivity]:
        """What every op would cause that can be in ``scheme`` in place of this one, in the same units; empty where that
        takes too long.
        """
        if self.chosen is None or not self.judged:
            return []
        other = replace(self.settings, formats=dict.fromkeys(self.settings.costs, scheme))
        chosen = replace(self.chosen, placement=placed(self.model, other, self.chosen.table), roundings=[])
        sweep = partial(measure_all, self.model, chosen, self.judged, other)
        what = f"measuring how much error each op causes in {scheme.dtype.value}"
        found, _ = attempt(what, sweep, list[Sensitivity]())
        able = {name for name, node in chosen.placement.plan.nodes.items() if node.dtype is scheme.dtype}
        return self._as_judged([item for item in found if item.node in able], self._every)

    def _without(
        self, reasons: Mapping[str, str], expected: float, formats: Mapping[str, Scheme] | None = None
    ) -> QuantizedModel:
        """A quantized copy with the nodes in ``reasons`` in high precision, those of ``formats`` in other schemes."""
        assert self.chosen is not None
        keep_float = {**self.settings.keep_float, **self._by_the_plan, **reasons}
        moved = formats or {}
        settings = replace(self.settings, keep_float=keep_float, formats={**self.settings.formats, **moved})
        work, table = self.model.clone(), self.chosen.table
        placement = placed(work, settings, table)
        notes = [*self.notes, *(f"{node}: {reason}" for node, reason in reasons.items())]
        elsewhere = keep_float.keys() | moved.keys()
        roundings = [rounding for rounding in self.chosen.roundings if rounding.node not in elsewhere]
        if roundings:
            correct = partial(correct_biases, roundings=roundings)
            work, told, failed = attempt_on("bias correction", work, correct, list[str]())
            notes += [*told, *failed]
        settled = {rounding.tensor: rounding.weight for rounding in roundings}
        inserted(work, placement, table, settled, self.chosen.scales)
        plan = _with_costs(placement.plan, {item.node: item.sqnr_db for item in self.found})
        made, choices = frozenset(reasons), self._choices
        return QuantizedModel(work, placement, plan, table, tuple(notes), made, expected, choices)

    @property
    def _choices(self) -> Choices | None:
        chosen = self.chosen
        if chosen is None or not self.settings.scheme.calibrated:
            return None
        floats = sorted(self.settings.float_results)
        return Choices(self.rewrites, chosen.solved, chosen.biased, floats, self.calibrated_noise)

    @property
    def _in_int8(self) -> set[str]:
        """The nodes that compute in int8 and have multiply-accumulates."""
        nodes = self.chosen.placement.plan.nodes if self.chosen is not None else {}
        return {name for name, node in nodes.items() if node.dtype is Dtype.INT8 and self.settings.costs.get(name)}

    @cached_property
    def _every(self) -> Sequence[Sensitivity]:
        """``found``; where ops in int8 are missing there, all of them measured now, if that can be."""
        if self.chosen is None or not self.judged or self._in_int8 <= {item.node for item in self.found}:
            return self.found
        sweep = partial(measure_all, self.model, self.chosen, self.judged, self.settings)
        measured, _ = attempt("measuring how much error each op causes", sweep, list[Sensitivity]())
        return measured or self.found

    def _as_judged(self, found: Sequence[Sensitivity], together: Sequence[Sensitivity]) -> list[Sensitivity]:
        """``found`` in units in which ``together``, measured in int8, cause what was judged: errors of ops partly
        cancel, and their sum would have MACs spent on a model that is of use as it is.
        """
        noise = sum(item.noise for item in together)
        judged = self.chosen.noise if self.chosen is not None else None
        factor = judged / noise if judged is not None and noise > 0 else 1.0
        return [replace(item, noise=item.noise * factor) for item in found]

    def _open(self, found: Sequence[Sensitivity]) -> list[Sensitivity]:
        """Those of ``found`` that no plan names."""
        named = self.asked.nodes if self.asked is not None else {}
        return [item for item in found if item.node not in named and item.node not in self._by_the_plan]

    def _fallback(self, allowance: Allowance) -> tuple[Fallback, dict[str, str]]:
        """What to leave out, and the measured reason of each node."""
        noise = sum(item.noise for item in self.found)
        if noise < GOOD_ENOUGH or self.chosen is None:
            return Fallback({}, noise), {}
        found = self._as_judged(self._open(self.found), self.found)
        costs, nodes = self.settings.costs, self.chosen.placement.plan.nodes
        kept = self._by_the_plan
        spent = sum(cost for node, cost in costs.items() if not nodes[node].dtype.quantized or node in kept)
        if self.settings.scheme.integer_results and self.chosen.usable:
            felt = felt_costs(self.model, self.chosen.placement, costs)
            integer = {use.node for weight in self.chosen.placement.weights for use in weight.uses}
            complete = integer <= {item.node for item in self.found}
            fallback = cheap_fallback(
                self._open(self.found), costs, felt, spent, self.chosen.noise or noise, complete=complete
            )
        elif self.settings.scheme.integer_results:
            fallback = choose_fallback(found, costs, spent, replace(allowance, share=0.0))
        else:
            fallback = choose_fallback(found, costs, spent, allowance)
        total = sum(costs.values())
        return fallback, {
            node: f"measured: causes {part:.0%} of the int8 error for {costs[node] / total:.1%} of the MACs"
            for node, part in fallback.nodes.items()
        }


def _of_noise(quantized: QuantizedModel, noise: float | None) -> QuantizedModel:
    """``quantized`` with ``noise`` as what its successors are held against, where that is not of a predecessor's."""
    choices = quantized.choices
    if choices is None or choices.noise is not None:
        return quantized
    return replace(quantized, choices=replace(choices, noise=noise))


def _with_costs(plan: PrecisionPlan, measured: Mapping[str, float]) -> PrecisionPlan:
    """``plan`` with the output SQNR of each node that was measured alone in int8."""
    nodes = {name: replace(node, cost_db=measured.get(name)) for name, node in plan.nodes.items()}
    return PrecisionPlan(nodes, plan.notes)


def _nothing_to_do(model: ir.Model, settings: QuantizeSettings) -> QuantizedModel:
    placement = placed(model, settings, None)
    note = (
        "no node can be quantized: the model has no convolution or matrix product with constant weights of useful size"
    )
    empty = CalibrationTable({}, "none", 0, False, "", "", notes=[note])
    return QuantizedModel(model, replace(placement, notes=(note,)), placement.plan, empty, (note,))
