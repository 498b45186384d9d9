"""Sample sources: where calibration and evaluation inputs come from.

A *sample* is one feed of the model. Where axis 0 counts independent samples (``engines.feeds.batching``), a sample has
one row of it and samples can be joined into batches; otherwise a sample has exactly the model's shapes and runs alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from engines.engine import Array, Feed, TensorSpec
from engines.feeds.batching import batched_names, join, may_join
from graphs.digests import digest_of


class SampleSource(Protocol):
    """A re-iterable stream of samples that never holds more than one in memory.

    ``digest`` changes when the data does; ``description`` says in a few words what it is; ``synthetic`` is True where
    no real data stands behind it.
    """

    @property
    def specs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def digest(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def synthetic(self) -> bool: ...

    def __len__(self) -> int: ...

    def samples(self) -> Iterator[Feed]:
        """Every sample in a fixed order. Raises ``BadInput`` naming the file and input that does not fit."""
        ...


class OpenedSource(SampleSource, Protocol):
    """A sample source that says what it assumed (``notes``) and can be read at chosen indices."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]: ...

    def peek(self, rows: int | None) -> list[Feed]:
        """One or two feeds as stored, long batches cut to ``rows`` (None: whole): to find out what axis 0 counts."""
        ...


@runtime_checkable
class Indexed(Protocol):
    """A source that can read chosen samples without decoding the others."""

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        """The samples at these indices, in order."""
        ...


Source = TypeVar("Source", bound=SampleSource)


class Wrapping(Generic[Source]):
    """What stands before another source and says of itself what that says."""

    def __init__(self, source: Source) -> None:
        self._source = source

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


class Sample(dict[str, Array]):
    """A feed that knows ``where`` it was read: a file, and the sample's number in it."""

    def __init__(self, arrays: Feed, where: str) -> None:
        super().__init__(arrays)
        self.where = where


def place_of(feed: Feed, number: int) -> str:
    """Where a feed was read, as far as it knows; else the number it has in its source."""
    return feed.where if isinstance(feed, Sample) else f"sample {number}"


def batches(samples: Iterable[Feed], size: int, specs: Sequence[TensorSpec]) -> Iterator[Feed]:
    """Join consecutive samples that fit together into feeds of up to ``size``; pass them through where inputs ``specs``
    have no batch axis.
    """
    batched = batched_names(specs)
    if not batched or size == 1:
        yield from samples
        return
    group: list[Feed] = []
    for sample in samples:
        if group and (len(group) == size or not may_join(group[0], sample, batched)):
            yield join(group, batched)
            group = []
        group.append(sample)
    if group:
        yield join(group, batched)


class Part(Wrapping[SampleSource]):
    """The samples of a source at chosen positions: how data is split into calibration and held-back."""

    def __init__(self, source: SampleSource, positions: Sequence[int], role: str) -> None:
        super().__init__(source)
        self._positions, self._role = sorted(set(positions)), role

    @property
    def digest(self) -> str:
        taken = digest_of([repr(self._positions)])
        return f"{self._source.digest}/{self._role}:{len(self)}:{taken[:16]}"

    def __len__(self) -> int:
        return len(self._positions)

    def samples(self) -> Iterator[Feed]:
        return self.samples_at(range(len(self)))

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        """Only these of its samples, in order; the others are not decoded where the source is ``Indexed``."""
        wanted = {self._positions[index] for index in indices}
        if isinstance(self._source, Indexed):
            yield from self._source.samples_at(wanted)
            return
        last = max(wanted, default=-1)
        for position, sample in enumerate(islice(self._source.samples(), last + 1)):
            if position in wanted:
                yield sample


def split(source: SampleSource, calibration: int, held_back: int, seed: int) -> tuple[Part, Part]:
    """Disjoint (calibration, held-back) parts, drawn without replacement over the whole source so that a sorted folder
    is not split by class. With a single sample both parts are that sample.
    """
    order = np.random.default_rng(seed).permutation(len(source))
    held_back = min(held_back, max(len(source) // 4, 1))
    kept = order[held_back:][:calibration] if len(order) > held_back else order
    return Part(source, kept.tolist(), "calibration"), Part(source, order[:held_back].tolist(), "held-back")
