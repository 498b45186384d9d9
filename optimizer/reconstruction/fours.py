"""Which two of every four columns to keep: the best choice for what four columns leave, in closed form.

Of four columns with the Hessian ``H`` and the values ``w`` that would be best without the pattern, keeping the pair
``P`` costs ``w_Nᵀ·S·w_N``: the others, ``N``, become zero, what is kept moves by ``H_PP⁻¹·H_PN·w_N``, and ``S`` is the
Schur complement ``H_NN − H_NP·H_PP⁻¹·H_PN``. With six pairs, and everything the same for all outputs, that is a few
products for each four (Optimal Brain Surgeon, Hassibi and Stork 1992, for two weights at once).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import Floats
from optimizer.reconstruction.grid import Grid

KEPT = np.array(list(combinations(range(4), 2)))
"""The six pairs that may stay, [6, 2], and for each the pair that goes."""
GONE = np.array([[i for i in range(4) if i not in pair] for pair in KEPT])


@dataclass(frozen=True)
class Fours:
    """Prepared for every four of columns: ``costs`` [groups, fours, 6, 2, 2] are the Schur complements, ``moves`` what
    the values that go add to those kept, ``ties`` [groups, fours, 6] how far the first kept value of a pair moves for
    what rounding takes from the second.
    """

    costs: Floats
    moves: Floats
    ties: Floats

    @classmethod
    def of(cls, hessians: NDArray[np.floating]) -> Fours:
        """Of the Hessians of all fours: [groups, fours, 4, 4]."""
        exact = np.asarray(hessians, np.float64)
        kept = exact[..., KEPT[:, :, None], KEPT[:, None, :]]
        across = exact[..., KEPT[:, :, None], GONE[:, None, :]]
        gone = exact[..., GONE[:, :, None], GONE[:, None, :]]
        moves = np.linalg.solve(kept, across)
        costs = gone - across.swapaxes(-1, -2) @ moves
        ties = kept[..., 0, 1] / kept[..., 0, 0]
        return cls(costs.astype(np.float32), moves.astype(np.float32), ties.astype(np.float32))

    def settled(self, wanted: Floats, four: int, grid: Grid | None) -> Floats:
        """What the columns of one ``four`` become whose best values are ``wanted`` [groups, 4, outputs]."""
        best = np.argmin(self._losses(wanted, four), axis=1)  # [groups, outputs]
        group = np.arange(len(wanted))[:, None]
        kept, gone = np.moveaxis(KEPT[best], -1, 1), np.moveaxis(GONE[best], -1, 1)
        lost = np.take_along_axis(wanted, gone, axis=1)
        values = np.take_along_axis(wanted, kept, axis=1)
        values += np.einsum("goij,gjo->gio", self.moves[group, four, best], lost)
        if grid is not None:
            rounded = grid.nearest(values[:, 1])
            first = values[:, 0] + self.ties[group, four, best] * (values[:, 1] - rounded)
            values = np.stack([grid.nearest(first), rounded], axis=1)
        found = np.zeros_like(wanted)
        np.put_along_axis(found, kept, values, axis=1)
        return found

    def _losses(self, wanted: Floats, four: int) -> Floats:
        """Of each pair: [groups, 6, outputs]."""
        first, second = wanted[:, GONE[:, 0]], wanted[:, GONE[:, 1]]
        cost = self.costs[:, four, ..., None]
        loss: Floats = first * (cost[:, :, 0, 0] * first + 2 * cost[:, :, 0, 1] * second)
        loss += cost[:, :, 1, 1] * second * second
        return loss
