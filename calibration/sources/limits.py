"""Indices that lie outside what they index are told by sample and input, before the model fails on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np

from calibration.source import OpenedSource, Wrapping, place_of
from engines.engine import Feed
from graphs.errors import BadInput


class WithinLimits(Wrapping[OpenedSource]):
    """``source`` with every sample checked: input name -> size of the axis that its values index (0 .. size - 1, or
    from the end with negative ones). Raises ``BadInput`` for the first sample that holds another value.
    """

    def __init__(self, source: OpenedSource, limits: Mapping[str, int]) -> None:
        super().__init__(source)
        self._limits = limits

    @property
    def notes(self) -> tuple[str, ...]:
        return self._source.notes

    def samples(self) -> Iterator[Feed]:
        return self._checked(self._source.samples())

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        return self._checked(self._source.samples_at(indices))

    def peek(self, rows: int | None) -> list[Feed]:
        return list(self._checked(self._source.peek(rows)))

    def _checked(self, feeds: Iterable[Feed]) -> Iterator[Feed]:
        for number, feed in enumerate(feeds):
            for name, size in self._limits.items():
                array = feed[name]
                if array.size and not (-size <= int(array.min()) and int(array.max()) < size):
                    outside = np.argwhere((array < -size) | (array >= size))
                    first = tuple(int(i) for i in outside[0])
                    raise BadInput(
                        f"{name!r} holds {int(array[first])} at {list(first)}, outside the {size} entries it indexes "
                        f"({len(outside)} of {array.size} values are)",
                        where=place_of(feed, number),
                        expected=f"0 to {size - 1}",
                        fix="correct or leave out this sample; were the ids made by another vocabulary?",
                    )
            yield feed
