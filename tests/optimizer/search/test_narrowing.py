"""The search on made-up tables of noise and cost, where the best answer can be found by trying all."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.search.frontier import STEP, Format, Moves, Step, Table, to_float
from optimizer.search.narrowing import LOOKS, Aim, Choice, Narrowing, Outcome

FACTOR = 0.1
"""How much more than the best set the search's may cost, of all nodes' cost: what ten looks are worth."""


def table_of(noises: list[float], costs: list[float]) -> Table:
    found = [Sensitivity(f"n{k}", noise) for k, noise in enumerate(noises)]
    return Table(found, {f"n{k}": cost for k, cost in enumerate(costs)})


class Measured:
    """A model whose drop is what the noise of its int8 nodes comes to; counts how often it is asked."""

    def __init__(
        self,
        table: Table,
        limit: float,
        surely: float = 1.0,
        tells: bool = True,
        off: float = 0.0,
        steadily: float = 1.0,
    ) -> None:
        self.table, self.limit, self._surely, self._tells, self._off = table, limit, surely, tells, off
        self._steadily = steadily
        self.asked: list[Step] = []

    def drop(self, step: Step) -> float:
        strayed = 1 + self._off * np.sin(37.0 * len(step.moves) + 11.0 * step.cost)
        return float(step.noise * strayed)

    def __call__(self, step: Step) -> Outcome:
        self.asked.append(step)
        return self.outcome(step)

    def outcome(self, step: Step) -> Outcome:
        drop = self.drop(step)
        ok = drop <= self.limit
        surely = ok and self._tells and drop * self._surely <= self.limit
        return Outcome(drop, ok, surely, self._tells, ok and drop * self._steadily <= self.limit)

    def search(self, moves: Moves = frozenset()) -> Choice:
        first = self.table.step(moves)
        return Narrowing(self.table, (first, self.outcome(first)), self, self.limit).run()


def best_of_all(model: Measured) -> float:
    nodes = list(model.table.noise)
    sets = chain.from_iterable(combinations(nodes, size) for size in range(len(nodes) + 1))
    steps = [model.table.step(to_float(frozenset(chosen))) for chosen in sets]
    return min(step.cost for step in steps if model.outcome(step).surely)


@given(
    st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=9),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_it_finds_nearly_the_cheapest_set(rows: list[tuple[float, float]], part: float, started: int) -> None:
    noises, costs = [noise for noise, _ in rows], [cost for _, cost in rows]
    model = Measured(table_of(noises, costs), limit=part * sum(noises))
    choice = model.search(to_float([f"n{k}" for k in range(min(started, len(rows)))]))
    assert choice.step is not None and model.outcome(choice.step).ok
    assert choice.step.cost <= best_of_all(model) + FACTOR
    assert len(model.asked) < LOOKS


def test_of_many_nodes_the_cheapest_set_is_found_within_a_step_or_two() -> None:
    rng = np.random.default_rng(3)
    noises, costs = rng.lognormal(0, 2, 120), rng.lognormal(0, 1, 120)
    model = Measured(table_of(list(noises), list(costs)), limit=0.03 * float(noises.sum()), off=0.05)
    choice = model.search()
    cheapest = next(step for step in model.table.frontier() if model.outcome(step).ok)
    assert choice.step is not None and choice.step.cost <= cheapest.cost + 4 * STEP


def test_what_holds_with_everything_in_int8_costs_one_look() -> None:
    model = Measured(table_of([0.1] * 8, [1.0] * 8), limit=1.0)
    choice = model.search(to_float(["n1", "n5"]))
    assert choice.step is not None and not choice.step.moves and len(model.asked) == 1


def test_nothing_is_measured_where_the_first_set_is_the_cheapest_there_is() -> None:
    model = Measured(table_of([0.1] * 8, [1.0] * 8), limit=1.0)
    assert model.search().step == model.table.step(frozenset()) and not model.asked


def test_confidence_is_paid_for_where_it_can_be_had() -> None:
    table = table_of([0.1] * 20, [1.0] * 20)
    at_all, surely = Measured(table, limit=1.0), Measured(table, limit=1.0, surely=2.0)
    first, second = at_all.search(), surely.search()
    assert first.step is not None and second.step is not None and second.aim is Aim.SURELY
    assert second.step.noise <= 0.5 < first.step.noise


def test_too_few_samples_to_tell_is_an_answer_and_costs_nothing() -> None:
    model = Measured(table_of([0.1] * 20, [1.0] * 20), limit=1.0, tells=False)
    choice = model.search()
    assert choice.step is not None and choice.aim is Aim.STEADILY and choice.step.noise > 0.8


def test_where_no_set_is_surely_within_the_budget_the_samples_decide() -> None:
    model = Measured(table_of([0.1] * 20, [1.0] * 20), limit=1.0, surely=1e9)
    model.drop = lambda step: step.noise + 0.01  # type: ignore[method-assign]  # even with nothing in int8
    choice = model.search()
    assert choice.step is not None and choice.aim is not Aim.SURELY and model.outcome(choice.step).ok


def test_of_too_few_samples_luck_does_not_count() -> None:
    lucky = Measured(table_of([0.1] * 20, [1.0] * 20), limit=1.0, tells=False, steadily=2.0)
    choice = lucky.search()
    assert choice.step is not None and choice.aim is Aim.STEADILY and choice.step.noise <= 0.5


def test_where_nothing_holds_there_is_no_choice() -> None:
    model = Measured(table_of([0.1] * 5, [1.0] * 5), limit=1.0)
    model.drop = lambda step: 2.0  # type: ignore[method-assign]
    assert model.search().step is None


def test_where_nothing_but_float_holds_that_is_found_within_the_looks_that_bounds_allow_for() -> None:
    rng = np.random.default_rng(0)
    model = Measured(table_of(list(rng.lognormal(0, 2, 180)), list(rng.lognormal(0, 1, 180))), limit=1.0)
    model.drop = lambda step: 0.0 if step.moves == model.table.all_in_float else 1.01  # type: ignore[method-assign]
    choice = model.search()
    assert choice.step is not None and choice.step.moves == model.table.all_in_float
    assert len(model.asked) + 1 <= LOOKS  # and the first


def test_it_ends_when_time_is_up() -> None:
    model = Measured(table_of([0.1] * 50, [1.0] * 50), limit=1.0)
    first = model.table.step(frozenset())
    Narrowing(model.table, (first, model.outcome(first)), model, 1.0, lambda: len(model.asked) < 2).run()
    assert len(model.asked) == 2


@pytest.mark.parametrize("noises", [[], [0.0, 0.0], [1.0]])
def test_a_frontier_goes_from_nothing_to_everything(noises: list[float]) -> None:
    steps = table_of(noises, [1.0] * len(noises)).frontier()
    assert not steps[0].moves and len(steps[-1].moves) == len(noises)
    assert [step.cost for step in steps] == sorted(step.cost for step in steps)


def test_a_node_goes_to_another_format_where_that_does_as_well_for_less() -> None:
    found = [Sensitivity("good", 0.1), Sensitivity("bad", 1.0), Sensitivity("ugly", 1.0)]
    fp8 = Format({"good": 0.02, "bad": 0.02}, {"good": 0.3, "bad": 0.05})
    table = Table(found, {"good": 1.0, "bad": 1.0, "ugly": 1.0}, {"fp8": fp8})
    model = Measured(table, limit=0.2)
    choice = model.search()
    assert choice.step is not None and choice.step.moves == {("bad", "fp8"), ("ugly", "float")}
    assert ("good", "fp8") not in table.options  # worse than int8 there
    assert table.frontier()[-1].moves == to_float(["good", "bad", "ugly"])
