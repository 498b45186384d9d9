"""Samples kept in memory between passes: a job reads its data some ten times, and decoding images takes longer than
most models.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from calibration.source import Indexed, Sample, SampleSource, Wrapping
from engines.engine import Feed

KEPT_BYTES = 128 << 20
"""Of each part of the data: 200 images of 224 x 224 in float32, or all of most token sets. Chosen, not measured."""


class KeptSource(Wrapping[SampleSource]):
    """``source``, of which the first ``limit`` bytes of samples are kept; what follows is read at every pass, that
    alone where the source is ``Indexed``. Whoever takes a sample must leave its arrays as they are.
    """

    def __init__(self, source: SampleSource, limit: int = KEPT_BYTES) -> None:
        super().__init__(source)
        self._limit = limit
        self._kept: list[Feed] = []
        self._bytes, self._full = 0, False

    def samples(self) -> Iterator[Feed]:
        """Every sample, in the order of ``source``."""
        position = 0
        while position < len(self._kept):  # another pass may add to them meanwhile
            yield self._kept[position]
            position += 1
        if position == len(self):
            return
        for number, sample in enumerate(self._from(position), position):
            self._keep(number, sample)
            yield sample

    def _from(self, position: int) -> Iterator[Feed]:
        if isinstance(self._source, Indexed):
            return self._source.samples_at(range(position, len(self)))
        return islice(self._source.samples(), position, None)

    def _keep(self, number: int, sample: Feed) -> None:
        if self._full or number != len(self._kept):
            return
        size = sum(array.nbytes for array in sample.values())
        if self._bytes + size > self._limit:
            self._full = True
            return
        self._kept.append(_copied(sample))
        self._bytes += size


def _copied(sample: Feed) -> Feed:
    """A function of the user's may fill the same array again for the next sample."""
    arrays = {name: array.copy() for name, array in sample.items()}
    return Sample(arrays, sample.where) if isinstance(sample, Sample) else arrays
