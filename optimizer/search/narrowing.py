"""Which set of nodes to measure next, and when to stop: pure decisions, whatever a measurement is.

Along the frontier accuracy rises with cost, nearly always. So the cheapest set within the budget is bracketed: by what
the drop of a failed one says of the noise that is allowed, and by halving, in turns. Then nodes of the set are moved
back into int8, the dearest first, as long as the budget holds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from optimizer.search.frontier import Moves, Step, Table

LOOKS = 10
"""Sets that are measured at most, the first among them: halving takes eight of 200. Every bound allows for so many."""
MOVED_BACK = 3
"""Sets among them that are measured to move single nodes back. Chosen: each gains less than the one before."""
SLACK = 2.0
"""By what factor the noise of a set with a node moved back may exceed that of one that failed: expectations are off.
Chosen."""
SAFE = 0.9
"""Part of the noise allowed, by the drop of a set that failed, that is aimed at. Chosen."""


@dataclass(frozen=True)
class Outcome:
    """What was measured of a set: the ``drop`` on the samples, whether that is ``ok``, whether it ``surely`` is with
    other samples, too, and whether so many samples can tell (``tells``). ``steady``: it is ok without what some of few
    samples gain by chance.
    """

    drop: float
    ok: bool
    surely: bool
    tells: bool
    steady: bool = False


class Aim(str, Enum):
    """What a set must be, the most that can be had: ``SURELY`` within the budget; where the samples are too few for
    that, ``STEADILY`` on them, no gain of one set against the loss of another, which is luck; or so on the whole.
    """

    SURELY = "surely"
    STEADILY = "steadily"
    ON_THE_WHOLE = "on the whole"


@dataclass(frozen=True)
class Choice:
    """The cheapest measured set within the budget (None: there is none), and what ``aim`` it was held to."""

    step: Step | None
    aim: Aim


class Narrowing:
    """One search. ``measure`` makes a set and says what came of it; ``first`` has been measured already; ``limit`` is
    the drop allowed; ``goes_on`` is asked before every measurement.
    """

    def __init__(
        self,
        table: Table,
        first: tuple[Step, Outcome],
        measure: Callable[[Step], Outcome],
        limit: float,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._table, self._steps = table, table.frontier()
        self._measure, self._limit, self._goes_on = measure, limit, goes_on
        self._costs = [step.cost for step in self._steps]
        self._known: dict[Moves, tuple[Step, Outcome]] = {first[0].moves: first}

    def run(self) -> Choice:
        """The cheapest set within the drop allowed that a bounded number of measurements finds."""
        turns = 0
        while self._may_measure() and (step := self._next(turns)) is not None:
            self._look(step)
            turns += 1
        tried = 0
        while self._may_measure() and tried < MOVED_BACK and (step := self._moved_back()) is not None:
            self._look(step)
            tried += 1
        last = self._steps[-1]
        if self._best() is None and last.moves not in self._known:
            self._look(last)  # whatever it takes: the budget is to come true
        return Choice(self._best(), self._aim)

    @property
    def _aim(self) -> Aim:
        """The most that nothing has shown to be out of reach on these samples."""
        within = [outcome for _, outcome in self._known.values() if outcome.ok]
        _, last = self._known.get(self._steps[-1].moves, (None, None))
        least = last if last is not None and last.ok else None  # with nothing in int8, where that was measured
        if all(outcome.tells for outcome in within) and (least is None or least.surely):
            return Aim.SURELY
        if any(outcome.steady for outcome in within) or least is None:
            return Aim.STEADILY
        return Aim.ON_THE_WHOLE

    def _holds(self, outcome: Outcome) -> bool:
        aim = self._aim
        if aim is Aim.SURELY:
            return outcome.surely
        return outcome.steady if aim is Aim.STEADILY else outcome.ok

    def _may_measure(self) -> bool:
        """A look is kept for the set with nothing in int8, which is measured in any case where no other holds."""
        kept = int(self._best() is None and self._steps[-1].moves not in self._known)
        return len(self._known) + kept < LOOKS and self._goes_on()

    def _look(self, step: Step) -> None:
        self._known[step.moves] = step, self._measure(step)

    def _best(self) -> Step | None:
        held = [step for step, outcome in self._known.values() if self._holds(outcome)]
        return min(held, key=lambda step: step.cost, default=None)

    def _next(self, turns: int) -> Step | None:
        """Between what fails and what holds; None where nothing is left."""
        low, high = self._bracket()
        if high - low <= 1:
            return None
        failed = [(step, outcome) for step, outcome in self._known.values() if not self._holds(outcome)]
        at = (low + high) // 2
        if not failed:
            at = low + 1  # all that was measured holds: perhaps everything does
        elif turns % 2 == 0:
            step, outcome = min(failed, key=lambda item: item[0].noise)
            if outcome.drop > self._limit > 0:
                aim = SAFE * step.noise * self._limit / outcome.drop
                at = next((k for k, step in enumerate(self._steps) if step.noise <= aim), len(self._steps) - 1)
        return self._unknown(min(max(at, low + 1), min(high, len(self._steps)) - 1), low, high)

    def _unknown(self, at: int, low: int, high: int) -> Step | None:
        """The step nearest to ``at`` within the bracket that was not measured."""
        inside = sorted(range(low + 1, min(high, len(self._steps))), key=lambda k: abs(k - at))
        return next((self._steps[k] for k in inside if self._steps[k].moves not in self._known), None)

    def _bracket(self) -> tuple[int, int]:
        """Positions on the frontier: the last that is expected to fail, as one of no less noise has, and the first that
        is no cheaper than a set that holds, as all of less noise that were measured do.
        """
        low, high = -1, len(self._steps)
        for step, outcome in sorted(self._known.values(), key=lambda item: item[0].noise):
            if not self._holds(outcome):
                low = sum(other.noise >= step.noise for other in self._steps) - 1
                break
            high = min(high, bisect_left(self._costs, step.cost))
        return min(low, high - 1), high

    def _moved_back(self) -> Step | None:
        """The best set with the dearest node in something cheaper that may bear it and was not tried."""
        best = self._best()
        if best is None:
            return None
        failed = [step.noise for step, outcome in self._known.values() if not self._holds(outcome)]
        most = SLACK * min(failed, default=float("inf"))
        options = self._table.options
        for move in sorted(best.moves & options.keys(), key=lambda move: (-options[move].cost, move)):
            cheaper = [{other} for other in options if other[0] == move[0] and options[other].cost < options[move].cost]
            for instead in [*cheaper, set()]:
                step = self._table.step(best.moves - {move} | instead)
                if step.moves not in self._known and step.noise <= most:
                    return step
        return None


def spread(steps: Sequence[Step], count: int) -> list[Step]:
    """``count`` steps over the whole range of costs, for a picture of the trade."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (count - 1))] for k in range(count)]
