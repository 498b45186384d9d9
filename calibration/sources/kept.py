"""Samples kept in memory between passes: a job reads its data some ten times, and decoding images takes longer than
most models.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from threading import Lock

from calibration.source import Indexed, Sample, SampleSource, Wrapping
from engines.engine import Feed

KEPT_BYTES = 128 << 20
"""Of each part of the data: 200 images of 224 x 224 in float32, or all of most token sets. Chosen, not measured."""


class KeptSource(Wrapping[SampleSource]):
    """``source``, of which the first ``limit`` bytes of samples are kept; what follows is read at every pass, that
    alone where the source is ``Indexed``. Whoever takes a sample must leave its arrays as they are.

    Several threads may pass over it: ``source``, code of the user's perhaps, is asked by one at a time.
    """

    def __init__(self, source: SampleSource, limit: int = KEPT_BYTES) -> None:
        super().__init__(source)
        self._limit = limit
        self._kept: list[Feed] = []
        self._bytes, self._full = 0, False
        self._reading = Lock()

    def samples(self) -> Iterator[Feed]:
        """Every sample, in the order of ``source``."""
        position = 0
        while position < len(self._kept):  # another pass may add to them meanwhile
            yield self._kept[position]
            position += 1
        if position == len(self):
            return
        further = enumerate(self._from(position), position)
        while (found := self._next(further)) is not None:
            yield found

    def keep_all(self) -> bool:
        """Read what is not kept yet, in the thread that calls; whether ``source`` is never asked again."""
        for _ in self.samples():
            if self._full:
                break
        return len(self._kept) == len(self)

    def _next(self, further: Iterator[tuple[int, Feed]]) -> Feed | None:
        """The next sample, in arrays of its own: a function of the user's may fill the same ones for every sample."""
        with self._reading:
            number, sample = next(further, (0, None))
            if sample is None:
                return None
            own = _copied(sample)
            self._keep(number, own)
            return own

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
        self._kept.append(sample)
        self._bytes += size


def _copied(sample: Feed) -> Feed:
    arrays = {name: array.copy() for name, array in sample.items()}
    return Sample(arrays, sample.where) if isinstance(sample, Sample) else arrays
