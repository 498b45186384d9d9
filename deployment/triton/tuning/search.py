"""Which instances, batches, queue delay and threads serve a model best: tried on the running server.

A hill climb over one value at a time, as the quick search of NVIDIA's Model Analyzer climbs over instances and batch
(https://github.com/triton-inference-server/model_analyzer/blob/main/docs/config_search.md). Every configuration that
was tried is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median

CLEARLY = 1.03
"""How many times better a configuration must measure to replace one found before: two runs of the same configuration
differed by up to 3 % on two quiet cores. Chosen."""
LEAST_CONFIRMATIONS, CONFIRMATIONS = 1, 3
"""Runs of the winner and of the first configuration in turns at the end, as time allows; their medians are compared.
Chosen."""
_DELAYS = (0, 100, 200, 500, 1000, 2000, 5000)
"""Microseconds. Chosen."""


class Goal(str, Enum):
    """What is looked for: most requests per second (within a bound on p99, where one is given), or the lowest p99."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"


@dataclass(frozen=True)
class Values:
    """What is searched. ``threads`` 0 leaves them to the engine: it is no axis where the backend has none."""

    instances: int
    max_batch: int
    queue_delay_us: int
    threads: int = 0

    @property
    def text(self) -> str:
        instances = f"{self.instances} instance{'s' if self.instances > 1 else ''}"
        batches = f"batches up to {self.max_batch}" if self.max_batch > 1 else "no batching"
        delay = f"a queue delay of {self.queue_delay_us} us" if self.queue_delay_us else "no queue delay"
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''} each" if self.threads else ""
        return f"{instances}, {batches}, {delay}{threads}"


@dataclass(frozen=True)
class Limits:
    """The largest values worth trying: copies of the engine, its profile's batch, and threads (0: no axis)."""

    instances: int
    max_batch: int
    threads: int = 0


@dataclass(frozen=True)
class Trial:
    """One configuration under load: the most clients of those asked for at which it kept the bound (``holds``), else
    the fewest tried; requests per second and milliseconds there. ``failure`` says why it could not be measured."""

    values: Values
    clients: int = 0
    requests_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    holds: bool = False
    failure: str = ""

    @property
    def figures(self) -> str:
        clients = f"{self.clients} client{'s' if self.clients != 1 else ''}"
        return f"{self.requests_per_s:,.0f} requests/s at {clients}, p99 {self.p99_ms:.2f} ms"


@dataclass(frozen=True)
class Tuning:
    """The search: ``first`` and ``chosen`` as confirmed at the end, every trial in order, and why it ended."""

    goal: Goal
    latency_bound_ms: float | None
    clients: int
    first: Trial
    chosen: Trial
    trials: tuple[Trial, ...] = ()
    seconds: float = 0.0
    ended: str = ""
    server: str = ""

    @property
    def text(self) -> str:
        """The choice and its reason in one sentence."""
        best, first = self.chosen, self.first
        if best.failure:
            return f"kept {best.values.text}: nothing could be measured: {best.failure}"
        bound = f" within a p99 of {self.latency_bound_ms:g} ms" if self.latency_bound_ms is not None else ""
        figures, before = best.figures, first.figures
        count = len({trial.values for trial in self.trials})
        tried = f"{count} configuration{'s' if count != 1 else ''} in {self.seconds:.0f} s, {self.ended}"
        if self.latency_bound_ms is not None and not best.holds:
            return f"none kept{bound}; nearest: {best.values.text}: {figures} ({tried})"
        if best.values == first.values:
            others = "none was clearly better" if count > 1 else "no other was tried"
            return f"kept {first.values.text}: {figures}{bound}; {others} ({tried})"
        return f"{best.values.text}: {figures}{bound}; {first.values.text} had {before} ({tried})"


Measure = Callable[[Values], Trial]


def tune(
    measure: Measure,
    first: Values,
    limits: Limits,
    goal: Goal,
    *,
    clients: int,
    latency_bound_ms: float | None = None,
    seconds: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Climb from ``first``: the neighbours of each value in turn, the better kept, until none is clearly better or time
    is up; then the winner and ``first`` are measured again in turns, and the better by medians chosen.

    ``seconds`` are for all of it, by what a trial took on average so far: it ends about a trial's length around them.
    ``first`` is tried in any case.
    """
    began = clock()
    search = _Climb(measure, goal, limits, seconds, clock)
    best = search.climb(first)
    if best.values == first:
        first_again = chosen = best
    else:
        first_again, chosen = search.confirm(first, best.values)
        if not better(chosen, first_again, goal):
            chosen = first_again
    alone = len({trial.values for trial in search.trials}) == 1
    ended = "there is none beside it" if alone else "none beside it is better"
    if search.cut_short:
        ended = "time was up (--tune-seconds)"
    return Tuning(goal, latency_bound_ms, clients, first_again, chosen, tuple(search.trials), clock() - began, ended)


def better(one: Trial, other: Trial, goal: Goal, clearly: float = 1.0) -> bool:
    """Whether ``one`` serves the goal better, ``clearly`` times at least. What keeps the bound goes before what does
    not; of two that do not, the lower p99 is nearer to it."""
    if one.failure or other.failure:
        return not one.failure
    if one.holds != other.holds:
        return one.holds
    if goal is Goal.LATENCY or not one.holds:
        return one.p99_ms * clearly < other.p99_ms
    return one.requests_per_s > other.requests_per_s * clearly


class _Climb:
    def __init__(
        self, measure: Measure, goal: Goal, limits: Limits, seconds: float, clock: Callable[[], float]
    ) -> None:
        self._measure, self._goal, self._limits = measure, goal, limits
        self._clock, self._began, self._seconds = clock, clock(), seconds
        self._known: dict[Values, Trial] = {}
        self.trials: list[Trial] = []
        self.cut_short = False

    def climb(self, first: Values) -> Trial:
        best = self._try(first)
        improved = True
        while improved:
            improved = False
            for axis in ("instances", "threads", "max_batch", "queue_delay_us"):
                for step in (1, -1):
                    best, climbed = self._along(best, axis, step)
                    improved |= climbed
                    if climbed or self.cut_short:
                        break
                if self.cut_short:
                    return best
        return best

    def _along(self, best: Trial, axis: str, step: int) -> tuple[Trial, bool]:
        """From ``best`` on in one direction as long as it pays."""
        climbed = False
        while (values := _neighbour(best.values, axis, step, self._limits)) is not None:
            if values not in self._known and not self._time_for(1 + 2 * LEAST_CONFIRMATIONS):
                self.cut_short = True
                break
            trial = self._known[values] if values in self._known else self._try(values)
            if not better(trial, best, self._goal, CLEARLY):
                break
            best, climbed = trial, True
        return best, climbed

    def _try(self, values: Values) -> Trial:
        trial = self._known[values] = self._measure(values)
        self.trials.append(trial)
        return trial

    def _time_for(self, trials: int) -> bool:
        """Whether so many more trials end in time if they take what those before took."""
        spent = self._clock() - self._began
        return spent + trials * spent / max(len(self.trials), 1) <= self._seconds

    def confirm(self, first: Values, best: Values) -> tuple[Trial, Trial]:
        """Both again in turns; the median of each figure."""
        runs: dict[Values, list[Trial]] = {first: [], best: []}
        for number in range(CONFIRMATIONS):
            if number >= LEAST_CONFIRMATIONS and not self._time_for(2):
                break
            for values, found in runs.items():
                found.append(self._measure(values))
                self.trials.append(found[-1])
        return _middle(runs[first]), _middle(runs[best])


def _middle(trials: Sequence[Trial]) -> Trial:
    measured = [trial for trial in trials if not trial.failure]
    if not measured:
        return trials[-1]
    return replace(
        measured[0],
        clients=round(median(trial.clients for trial in measured)),
        requests_per_s=median(trial.requests_per_s for trial in measured),
        p50_ms=median(trial.p50_ms for trial in measured),
        p99_ms=median(trial.p99_ms for trial in measured),
        holds=sum(trial.holds for trial in measured) * 2 > len(measured),
    )


def _neighbour(values: Values, axis: str, step: int, limits: Limits) -> Values | None:
    """One step along an axis: doubled or halved, the next delay; None at an end, or where there is no such axis."""
    steps = {
        "instances": _doubling(limits.instances),
        "threads": _doubling(limits.threads),
        "max_batch": _doubling(limits.max_batch),
        "queue_delay_us": list(_DELAYS) if values.max_batch > 1 else [],
    }[axis]
    now = getattr(values, axis)
    beyond = [size for size in steps if (size > now if step > 0 else size < now)]
    if not beyond:
        return None
    changed = replace(values, **{axis: beyond[0] if step > 0 else beyond[-1]})
    return changed if changed.max_batch > 1 else replace(changed, queue_delay_us=0)


def _doubling(most: int) -> list[int]:
    """1, 2, 4 … and ``most``; nothing for 0."""
    sizes = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*sizes, most] if most else []
