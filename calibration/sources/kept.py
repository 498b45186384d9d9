"""Samples kept in memory between passes: a job reads its data some ten times, and decoding images takes longer than
most models.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from calibration.source import Sample, SampleSource
from engines.engine import Feed, TensorSpec

KEPT_BYTES = 128 << 20
"""Of each part of the data: 200 images of 224 x 224 in float32, or all of most token sets. Chosen, not measured."""


class KeptSource:
    """``source``, of which the first ``limit`` bytes of samples are read once; what follows is read at every pass.
    Whoever takes a sample must leave its arrays as they are.
    """

    def __init__(self, source: SampleSource, limit: int = KEPT_BYTES) -> None:
        self._source, self._limit = source, limit
        self._kept: list[Feed] = []
        self._bytes, self._full = 0, False

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return self._source.specs

    @property
    def digest(self) -> str:
        return self._source.digest

    @property
    def description(self) -> str:
        return self._source.description

    @property
    def synthetic(self) -> bool:
        return self._source.synthetic

    def __len__(self) -> int:
        return len(self._source)

    def samples(self) -> Iterator[Feed]:
        """Every sample, in the order of ``source``."""
        position = 0
        while position < len(self._kept):  # another pass may add to them meanwhile
            yield self._kept[position]
            position += 1
        if position == len(self):
            return
        for number, sample in enumerate(islice(self._source.samples(), position, None), position):
            self._keep(number, sample)
            yield sample

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
