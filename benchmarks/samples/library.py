"""The sample library of a run: samples in a store, loaded when LoadGen asks for them, joined into batches."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.samples.files import FileStore, write_npz
from engines.engine import Array, Feed, TensorSpec
from engines.feeds.batching import batched_names, join, row
from engines.pieces import Pieces
from graphs.errors import BadInput

FILE_BYTES = 64 << 20
"""Size at which a sample file is closed and the next begun. Chosen."""
MEMORY_BYTES = 1 << 30
"""Samples held in memory together take at most this, where no rule fixes their number. Chosen."""


def save_samples(feeds: Iterable[Feed], specs: Sequence[TensorSpec], directory: Path) -> tuple[str, ...]:
    """Write samples (one per feed) as ``samples-00000.npz``, ...; consecutive samples of equal shapes share a file.

    In a file, axis 0 counts the samples: inputs with a batch axis are concatenated, others stacked on a new axis.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names = [spec.name for spec in specs]
    batched = batched_names(specs)
    paths: list[str] = []
    for group in _groups(feeds, names):
        path = directory / f"samples-{len(paths):05d}.npz"
        write_npz(path, {name: _in_file(group, name, batched) for name in names})
        paths.append(str(path))
    return tuple(paths)


def _in_file(group: Sequence[Feed], name: str, batched: Sequence[str]) -> Array:
    arrays = [feed[name] for feed in group]
    return np.concatenate(arrays) if name in batched else np.stack(arrays)


def _groups(feeds: Iterable[Feed], names: Sequence[str]) -> Iterator[list[Feed]]:
    group: list[Feed] = []
    held = 0
    for feed in feeds:
        size = sum(feed[name].nbytes for name in names)
        if group and (held + size > FILE_BYTES or any(feed[n].shape != group[0][n].shape for n in names)):
            yield group
            group, held = [], 0
        group.append(feed)
        held += size
    if group:
        yield group


class SampleStore(Protocol):
    """Where samples lie. A sample's feed has axis 0 of length 1, or more rows where a sample holds several items."""

    @property
    def sample_bytes(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> Iterable[tuple[int, Feed]]: ...


class SampleLibrary:
    """Samples by index. ``load`` brings some into memory; ``feed`` joins loaded ones into one feed.

    ``wanted`` is the number of samples to hold in memory together where a benchmark's rules fix it. Raises
    ``BadInput`` where the store is empty.
    """

    def __init__(self, store: SampleStore, specs: Sequence[TensorSpec], wanted: int | None = None) -> None:
        self.specs, self._batched = tuple(specs), batched_names(specs)
        self.batchable = bool(self._batched)
        self._store, self._wanted = store, wanted
        if not len(store):
            raise BadInput("no samples for LoadGen", fix="give data (--data) or evaluation data (--eval-data)")
        self._feeds: dict[int, Feed] = {}
        self._slots: dict[int, int] = {}
        self._stores: dict[str, Array] = {}
        self._pieces = Pieces()

    @staticmethod
    def from_files(paths: Sequence[str], specs: Sequence[TensorSpec]) -> SampleLibrary:
        """Of the files that ``save_samples`` wrote. Raises ``BadInput`` naming the file that cannot be used."""
        return SampleLibrary(FileStore(paths, specs), specs)

    def __len__(self) -> int:
        return len(self._store)

    @property
    def performance_count(self) -> int:
        """LoadGen's performance sample count: what is wanted, else what fits in memory together."""
        return max(1, min(len(self), self._wanted or MEMORY_BYTES // self._store.sample_bytes))

    @property
    def loaded(self) -> int:
        """How many samples are in memory now."""
        return len(self._feeds)

    @property
    def uniform(self) -> bool:
        """Whether any loaded samples can be joined: all have one shape."""
        return bool(self._stores)

    def load(self, indices: Sequence[int]) -> None:
        """Bring samples into memory, replacing what was loaded; samples of one shape go into one array per input."""
        self.unload()
        feeds = dict(self._store.read(indices))
        if self.batchable and len({self._key(feed) for feed in feeds.values()}) == 1 and self._single(feeds):
            self._slots = {index: slot for slot, index in enumerate(feeds)}
            self._stores = join(list(feeds.values()), self._batched)
            feeds = {index: row(self._stores, self._batched, slot) for index, slot in self._slots.items()}
        self._feeds = feeds

    def unload(self) -> None:
        self._feeds, self._slots, self._stores = {}, {}, {}

    def feed(self, indices: Sequence[int]) -> Feed:
        """One feed of loaded samples; several only where ``batchable`` and of one ``bucket``."""
        if len(indices) == 1:
            return self._feeds[indices[0]]
        if self._stores:
            slots = [self._slots[index] for index in indices]
            return {n: self._taken(s, slots) if n in self._batched else s for n, s in self._stores.items()}
        return join([self._feeds[index] for index in indices], self._batched)

    def _taken(self, store: Array, slots: Sequence[int]) -> Array:
        taken = np.empty((len(slots), *store.shape[1:]), store.dtype)

        def write(part: slice) -> None:
            store.take(slots[part], 0, out=taken[part], mode="clip")  # no slot is outside; "raise" makes a copy more

        self._pieces.fill(len(slots), store[:1].nbytes, write)
        return taken

    def rows(self, indices: Sequence[int]) -> list[int]:
        """Rows along axis 0 of each loaded sample; one where samples are not joined."""
        if self._stores or not self.batchable:
            return [1] * len(indices)
        name = self._batched[0]
        return [self._feeds[index][name].shape[0] for index in indices]

    def row_count(self, indices: Sequence[int]) -> int:
        """Rows of a batch together; asked for every batch, so quick where samples have one row."""
        return len(indices) if self._stores else sum(self.rows(indices))

    def bucket(self, index: int) -> Hashable:
        """Samples of one bucket can be joined (sequences of one length, for example)."""
        return None if self._stores else self._key(self._feeds[index])

    def batches(self, ids: Sequence[int], indices: Sequence[int], size: int) -> Iterator[tuple[list[int], list[int]]]:
        """(query sample ids, sample indices) in batches of up to ``size`` that can be joined, bucketed by shape."""
        if self._stores or size == 1:
            for start in range(0, len(ids), size):
                yield list(ids[start : start + size]), list(indices[start : start + size])
            return
        pairs = sorted(zip(ids, indices, strict=True), key=lambda pair: self._key(self._feeds[pair[1]]))
        for _, group in groupby(pairs, key=lambda pair: self._key(self._feeds[pair[1]])):
            alike = list(group)
            for start in range(0, len(alike), size):
                part = alike[start : start + size]
                yield [pair[0] for pair in part], [pair[1] for pair in part]

    def _single(self, feeds: dict[int, Feed]) -> bool:
        return all(len(feed[name]) == 1 for feed in feeds.values() for name in self._batched)

    def _key(self, feed: Feed) -> tuple[tuple[int, ...], ...]:
        """What must be equal for samples to be joined: every axis but the batch, and inputs that have none."""
        if not self.batchable:
            return tuple(feed[spec.name].shape for spec in self.specs)
        return tuple(self._part_of_key(spec.name, feed[spec.name]) for spec in self.specs)

    def _part_of_key(self, name: str, array: Array) -> tuple[int, ...]:
        return array.shape[1:] if name in self._batched else (*array.shape, zlib.crc32(array.tobytes()))
