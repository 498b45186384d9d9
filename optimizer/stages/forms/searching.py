"""The search for the fastest form within a budget that was given (``optimizer.search``), in the pipeline's terms."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from optimizer.events import Events, Progress
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import SCHEMES
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.search.costs import Costs
from optimizer.search.frontier import FLOAT, Format, Moves, Step, Table, to_float
from optimizer.search.narrowing import LOOKS, Aim, Narrowing, Outcome, spread
from optimizer.search.trades import Trade
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.budget import as_near_as_any
from optimizer.stages.forms.pareto import recorded
from optimizer.stages.forms.search_points import Point, PointStore
from optimizer.stages.forms.typed_forms import TypedForm

CALIBRATIONS = 10.0
"""How many times as long as one calibration a search may take. The bound that a user was promised."""
PICTURED = 6
"""Points measured at least where the first form is over the budget, time allowing: the trade is to be seen. Chosen."""
LARGE_BYTES = 256 << 20
"""Graphs above this are not kept where they are over the budget: ten of two gigabytes would fill a disk. Chosen."""
WHY = "left out of int8 for the accuracy budget"


@dataclass(frozen=True)
class Maker:
    """How the forms of one backend are made, each in a folder: ``quantized``, and the one with nothing in int8 (None
    where that is no form of this backend). ``trade`` is what a form costs, ``costs`` what each node's leaving int8
    costs, asked once, of the first form.
    """

    quantized: Callable[[QuantizedModel, Path], TypedForm]
    in_float: Callable[[Path], TypedForm] | None
    trade: Callable[[Path], Trade]
    costs: Callable[[Path], Costs]


@dataclass
class BudgetSearch:
    """One search. ``limit`` is the drop allowed, ``calibration_s`` the seconds of the calibration; ``stage`` is the
    events'.
    """

    prepared: Prepared
    maker: Maker
    store: PointStore
    limit: float
    optimize_for: str
    calibration_s: float
    events: Events
    stage: str
    _points: dict[Moves, Point] = field(default_factory=dict)
    _preparing: float = 0.0
    _longest: float = 0.0

    def form(self) -> TypedForm:
        """The form that ships, with the ``search`` that found it."""
        usual = self.prepared.quantized(Allowance())
        begun = to_float(usual.fallen_back)
        first = self._point(begun, partial(self.maker.quantized, usual))
        outcome = self._outcome(first.form.check)
        if not begun and (outcome.surely or (outcome.steady and not outcome.tells)):
            return self._told(first, surely=outcome.tells, cost="nothing: every node that can be is in int8")
        started = time.perf_counter()
        costs = self.maker.costs(first.form.path)
        table = Table(self.prepared.sensitivities(), costs.by_node, self._formats(costs))
        self._preparing = time.perf_counter() - started
        self._all = table.all_in_float
        choice = Narrowing(table, (table.step(begun), outcome), self._measured, self.limit, self._goes_on).run()
        for step in spread(table.frontier(), PICTURED) if not first.form.check.ok else ():
            new = step.moves not in self._points and self._makes(step)
            if new and len(self._points) < PICTURED and self._goes_on():
                self._measured(step)
        chosen = self._nearest() if choice.step is None else self._points.get(choice.step.moves)
        chosen = chosen or self._nearest()  # in float, which is not this backend's to ship
        return self._told(chosen, surely=choice.aim is Aim.SURELY, cost=costs.how)

    def _told(self, chosen: Point, *, surely: bool, cost: str) -> TypedForm:
        """The form of ``chosen``, its graph made again where that was too large to keep, and how it was found."""
        moves = frozenset(chosen.moves)
        if not chosen.form.path.is_file():
            self.store.forget(moves)
            chosen = self._point(moves, partial(self._without, moves))
        search = recorded(
            list(self._points.values()),
            chosen,
            self.limit,
            surely=surely,
            optimize_for=self.optimize_for,
            cost=cost,
            seconds=self._seconds,
            bound_s=CALIBRATIONS * self.calibration_s,
        )
        return replace(chosen.form, search=search)

    @property
    def _seconds(self) -> float:
        """What the search took beside the first form, which is made without one, too."""
        first = next(iter(self._points.values())).seconds if self._points else 0.0
        return self._preparing + sum(point.seconds for point in self._points.values()) - first

    def _goes_on(self) -> bool:
        return self._seconds + self._longest <= CALIBRATIONS * self.calibration_s

    def _makes(self, step: Step) -> bool:
        return step.moves != self._all or self.maker.in_float is not None

    def _measured(self, step: Step) -> Outcome:
        """Make and check the set of ``step``; with nothing in int8 what is no form of this backend is FP32 itself."""
        if not self._makes(step):
            return Outcome(0.0, True, True, True, True)
        if step.moves == self._all and self.maker.in_float is not None:
            point = self._point(step.moves, self.maker.in_float)
        else:
            point = self._point(step.moves, partial(self._without, step.moves))
        self._longest = max(self._longest, point.seconds)
        return self._outcome(point.form.check)

    def _without(self, moves: Moves, folder: Path) -> TypedForm:
        left_out = {node for node, name in moves if name == FLOAT}
        formats = {node: SCHEMES[Dtype(name)] for node, name in moves if name != FLOAT}
        return self.maker.quantized(self.prepared.leaving_out(left_out, WHY, formats), folder)

    def _formats(self, costs: Costs) -> dict[str, Format]:
        """The formats beside int8 and float that every target takes, of the nodes that can be in them."""
        found: dict[str, Format] = {}
        for dtype, parts in costs.parts.items():
            caused = self.prepared.sensitivities_in(SCHEMES[dtype])
            found[dtype.value] = Format(parts, {item.node: item.noise for item in caused})
        return found

    def _point(self, moves: Moves, make: Callable[[Path], TypedForm]) -> Point:
        def made(folder: Path) -> Point:
            started = time.perf_counter()
            form = make(folder)
            trade = self.maker.trade(form.path)
            return Point(sorted(moves), form, trade, time.perf_counter() - started)

        point = self._points[moves] = self.store.point(moves, made)
        if len(self._points) > 1 and not point.form.check.ok and point.trade.bytes > LARGE_BYTES:
            self.store.drop_graph(moves)
        self.events.emit(Progress(self.stage, len(self._points), LOOKS, "forms measured"))
        self.events.note(self.stage, _line(point))
        return point

    def _outcome(self, check: AccuracyCheck) -> Outcome:
        tells = check.bound is not None and check.bound.least <= self.limit
        steady = check.ok and check.lost is not None and check.lost <= self.limit
        return Outcome(check.drop, check.ok, check.surely(self.limit), tells, steady)

    def _nearest(self) -> Point:
        """Where nothing is within the budget: the cheapest that is as near as any."""
        points = [point for point in self._points.values() if Dtype(point.form.plan.computes_in).quantized]
        points = points or list(self._points.values())
        near = as_near_as_any(points, lambda point: point.form.check.drop)
        return max(near or points, key=lambda point: point.form.quantized_share)


def _line(point: Point) -> str:
    check = point.form.check
    bound = f", at most {100 * check.bound.upper:.2f} % with confidence" if check.bound is not None else ""
    drop = round(100 * check.drop, 2) + 0.0  # no -0.00
    return f"with {point.form.in_words}: drop {drop:.2f} %{bound}"
