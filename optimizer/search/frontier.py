"""What could leave int8: sets of nodes, each taking most noise away for its cost, from none of them to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.quantization.corrections.fallback import knapsack
from optimizer.quantization.corrections.sensitivity import Sensitivity

STEP = 0.005
"""Of sets whose costs differ by less than this share of all nodes' cost the best is looked at: less cannot be timed."""


@dataclass(frozen=True)
class Step:
    """Nodes to leave out of int8, what that costs (a share of what all of them cost) and the noise power expected at
    the outputs of the others, relative to the signal's.
    """

    left_out: frozenset[str]
    cost: float
    noise: float


class Table:
    """What each node's int8 causes and what its high precision costs. Nodes of no known noise come last."""

    def __init__(self, found: Sequence[Sensitivity], costs: Mapping[str, float]) -> None:
        self._found = [item for item in found if costs.get(item.node, 0) > 0]
        total = sum(costs[item.node] for item in self._found) or 1.0
        self.costs = {item.node: costs[item.node] / total for item in self._found}
        self.noise = {item.node: item.noise for item in self._found}
        self._rest = sum(item.noise for item in found) - sum(self.noise.values())  # of nodes that never leave int8

    def step(self, left_out: frozenset[str]) -> Step:
        """The set ``left_out`` as a step; nodes that are not in the table cost nothing here."""
        known = [node for node in self.costs if node in left_out]
        cost = sum(self.costs[node] for node in known)
        remaining = sum(self.noise.values()) - sum(self.noise[node] for node in known)
        return Step(left_out, cost, max(remaining, 0.0) + self._rest)

    def frontier(self) -> list[Step]:
        """Sets by rising cost and falling noise, about ``STEP`` apart; the first is empty, the last has every node.

        Noise powers of nodes add up while they are small (``corrections.sensitivity``), so the best set for a cost is
        a knapsack's. It is an expectation: what a set really does is measured.
        """
        nothing, everything = self.step(frozenset()), self.step(frozenset(self.costs))
        if not self.costs:
            return [nothing]
        bands: dict[int, Step] = {}
        least = nothing.noise
        for _, indices in knapsack(self._found, self.costs, 1.0):
            step = self.step(frozenset(self._found[index].node for index in indices))
            if step.noise < least:
                bands[int(step.cost / STEP)], least = step, step.noise  # the last of a band has the least noise
        steps = [nothing, *bands.values()]
        return [*(step for step in steps if step.cost < everything.cost), everything]
