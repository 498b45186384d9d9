"""The order of input channels in which 2:4 pruning takes least away.

Which weights stand together in a four is a matter of order, and an order of channels is free where the layers around
can take it up (``axes``). So the channels of one set are exchanged between fours as long as that helps (channel
permutations for N:M sparsity, Pool and Yu 2021). What is kept of a four with one channel exchanged for the value ``v``
is ``m₁ + max(m₂, v)``, ``m₁ ≥ m₂`` being the largest two of the three that stay: so what all exchanges of any two
channels gain is one table [channels, channels], made of one pass over the weight, and of the best that touch no four
twice many are made at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import Floats

ROWS = 2048
"""Rows of a weight's importance looked at, evenly spaced: the sums change little with more. Chosen."""
ROUNDS = 100
"""Rounds of exchanges at most; most layers are done within thirty. Chosen."""
SEARCH_WORK = 2e9
"""Comparisons one set of channels may take, some seconds: fewer rows, then fewer rounds, where channels are many.
Chosen."""
_LEAST_GAIN = 1e-4
"""Share of what is lost that a round of exchanges must give back for another to follow. Chosen."""
_BLOCK = 1 << 22
"""Numbers compared at a time. Chosen."""
Order = NDArray[np.intp]


def best_order(importance: Floats) -> tuple[Order, float, float]:
    """The order of channels that keeps most of ``importance`` [rows, channels], and the share of it that is lost as the
    channels stand and in that order. ``channels`` is a multiple of 4.

    Rows are what the weights of one output, at one tap, contribute channel by channel (squares, say): the two largest
    of every four are kept.
    """
    channels = importance.shape[1]
    rows = max(min(ROWS, int(SEARCH_WORK / (8 * channels**2))), 64)
    looked_at = np.ascontiguousarray(importance[:: max(len(importance) // rows, 1)].T, np.float32)
    order = np.arange(channels)
    total = float(looked_at.sum()) or 1.0
    kept = before = _kept(looked_at, order)
    left = SEARCH_WORK
    table = _Exchanges(looked_at, order)
    for _ in range(ROUNDS):
        made = table.make_best()
        left -= made * 4 * channels * looked_at.shape[1]
        after = _kept(looked_at, table.order)
        if after <= kept + _LEAST_GAIN * (total - kept) or left < 0:
            if after > kept:
                order, kept = table.order.copy(), after
            break
        order, kept = table.order.copy(), after
    return order, 1 - before / total, 1 - kept / total


def _kept(importance: Floats, order: Order) -> float:
    """The sum of the two largest of every four: ``importance`` [channels, rows]."""
    fours = importance[order].reshape(-1, 4, importance.shape[1])
    return float(np.partition(fours, 2, axis=1)[:, 2:].sum(dtype=np.float64))


class _Exchanges:
    """What a four keeps with one of its channels exchanged for any other: a table [places, channels]."""

    def __init__(self, importance: Floats, order: Order) -> None:
        self.importance, self.order = importance, order.copy()
        self._table = np.empty((len(order), len(order)), np.float32)
        self._now = np.empty(len(order) // 4, np.float32)
        self._look_at(np.arange(len(order) // 4))

    def _look_at(self, fours: Order) -> None:
        """Fill in the rows of ``fours``, a few at a time."""
        channels, rows = self.importance.shape
        for four in fours:
            values = self.importance[self.order[4 * four : 4 * four + 4]]
            ranked = np.sort(values, axis=0)
            self._now[four] = ranked[2:].sum(dtype=np.float64)
            for place in range(4):
                others = np.sort(np.delete(values, place, axis=0), axis=0)
                row = self._table[4 * four + place]
                step = max(_BLOCK // rows, 1)
                for start in range(0, channels, step):
                    part = slice(start, start + step)
                    row[part] = np.maximum(self.importance[part], others[1]).sum(axis=1)
                row += others[2].sum(dtype=np.float64)

    def make_best(self) -> int:
        """Exchange the pairs of channels that gain most, no four twice; returns how many fours changed."""
        with_other = self._table[:, self.order]  # [place, place]: the first place's four, given the second's channel
        gain = with_other + with_other.T
        now = np.repeat(self._now, 4)
        gain -= now[:, None] + now[None, :]
        four = np.arange(len(self.order)) // 4
        gain[four[:, None] >= four[None, :]] = 0
        best = gain.argmax(axis=1)
        gains = gain[np.arange(len(best)), best]
        touched: set[int] = set()
        for place in np.argsort(-gains):
            if gains[place] <= 0:
                break
            other = int(best[place])
            pair = {int(four[place]), int(four[other])}
            if not pair & touched:
                touched |= pair
                self.order[[place, other]] = self.order[[other, place]]
        self._look_at(np.array(sorted(touched), np.intp))
        return len(touched)
