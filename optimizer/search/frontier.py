"""What could leave int8, and for what: sets of moves, each taking most noise away for its cost, from none to all nodes
in float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from optimizer.quantization.corrections.sensitivity import Sensitivity

STEP = 0.005
"""Of sets whose costs differ by less than this share of all nodes' cost the best is looked at: less cannot be timed."""
PARTS = 1000
"""Parts of all nodes' cost that costs are rounded up to. Chosen."""
FLOAT = "float"
"""High precision: FP16, or FP32 where FP16 would lose a node's result."""

Move: TypeAlias = "tuple[str, str]"
"""A node and what it computes in, in place of int8: ``FLOAT``, or the name of a format (``fp8``)."""
Moves: TypeAlias = "frozenset[Move]"


def to_float(nodes: Sequence[str] | frozenset[str]) -> Moves:
    """``nodes`` in high precision."""
    return frozenset((node, FLOAT) for node in nodes)


@dataclass(frozen=True)
class Step:
    """Moves out of int8, what they cost (a share of what all nodes in float cost) and the noise power expected at the
    outputs, relative to the signal's.
    """

    moves: Moves
    cost: float
    noise: float


@dataclass(frozen=True)
class Option:
    """What one node costs in some format, and the noise it then causes."""

    cost: float
    noise: float


@dataclass(frozen=True)
class Format:
    """A format beside int8 and float: by node the part of float's cost that it costs, and the noise it causes."""

    cost_parts: Mapping[str, float]
    noises: Mapping[str, float]


class Table:
    """What each node causes in int8, and what it costs and causes in anything else."""

    def __init__(
        self, found: Sequence[Sensitivity], costs: Mapping[str, float], formats: Mapping[str, Format] | None = None
    ) -> None:
        known = [item for item in found if costs.get(item.node, 0) > 0]
        total = sum(costs[item.node] for item in known) or 1.0
        self.noise = {item.node: item.noise for item in known}
        self.options: dict[Move, Option] = {(i.node, FLOAT): Option(costs[i.node] / total, 0.0) for i in known}
        for name, format_ in (formats or {}).items():
            for node in self.noise.keys() & format_.noises.keys() & format_.cost_parts.keys():
                if format_.noises[node] < self.noise[node]:
                    cost = format_.cost_parts[node] * self.options[node, FLOAT].cost
                    self.options[node, name] = Option(cost, format_.noises[node])
        self._rest = sum(item.noise for item in found) - sum(self.noise.values())  # of nodes that never leave int8

    @property
    def all_in_float(self) -> Moves:
        return to_float(frozenset(self.noise))

    def step(self, moves: Moves) -> Step:
        """``moves`` as a step; those of nodes that are not in the table cost nothing here."""
        known = {node: self.options[node, name] for node, name in moves if (node, name) in self.options}
        cost = sum(option.cost for option in known.values())
        noise = sum(known[node].noise if node in known else noise for node, noise in self.noise.items())
        return Step(moves, cost, noise + max(self._rest, 0.0))

    def frontier(self) -> list[Step]:
        """Sets by rising cost and falling noise, about ``STEP`` apart; the first is empty, the last has every node in
        float.

        Noise powers of nodes add up while they are small (``corrections.sensitivity``), so the best set for a cost is
        a knapsack's. It is an expectation: what a set really does is measured.
        """
        nothing, everything = self.step(frozenset()), self.step(self.all_in_float)
        bands: dict[int, Step] = {}
        least = nothing.noise
        for moves in _best_for_every_cost(self.noise, self.options) if self.noise else ():
            step = self.step(moves)
            if step.noise < least:
                bands[int(step.cost / STEP)], least = step, step.noise  # the last of a band has the least noise
        steps = [nothing, *bands.values()]
        return [*(step for step in steps if step.cost < everything.cost), everything] if self.noise else [nothing]


def _best_for_every_cost(noise: Mapping[str, float], options: Mapping[Move, Option]) -> list[Moves]:
    """For each part of the cost the moves that take most noise away, one at most of each node (a multiple-choice
    knapsack, exact up to the rounding of costs).
    """
    best = np.zeros(PARTS + 1)
    taken: list[tuple[list[tuple[Move, int]], np.ndarray]] = []
    for node in noise:
        moves = [
            (move, int(np.ceil(option.cost * PARTS - 1e-9))) for move, option in options.items() if move[0] == node
        ]
        after, pick = best.copy(), np.full(PARTS + 1, -1)
        for index, (move, weight) in enumerate(moves):
            with_it = best[: PARTS + 1 - weight] + noise[node] - options[move].noise
            better = with_it > after[weight:]
            after[weight:][better], pick[weight:][better] = with_it[better], index
        taken.append((moves, pick))
        best = after
    return [_chosen(taken, room) for room in range(PARTS + 1)]


def _chosen(taken: Sequence[tuple[list[tuple[Move, int]], np.ndarray]], room: int) -> Moves:
    chosen: list[Move] = []
    for moves, pick in reversed(taken):
        if pick[room] >= 0:
            move, weight = moves[pick[room]]
            chosen.append(move)
            room -= weight
    return frozenset(chosen)
