"""The sample library of a run: samples on disk, loaded when LoadGen asks for them, joined into batches."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed, TensorSpec, joinable
from engines.errors import BadInput

FILE_BYTES = 64 << 20
MEMORY_BYTES = 1 << 30


def save_samples(feeds: Iterable[Feed], specs: Sequence[TensorSpec], directory: Path) -> tuple[str, ...]:
    """Write samples (one per feed) as ``samples-00000.npz``, ...; consecutive samples of equal shapes share a file.

    In a file, axis 0 counts the samples: joinable inputs are concatenated, others stacked on a new axis.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names = [spec.name for spec in specs]
    join = np.concatenate if joinable(specs) else np.stack
    paths: list[str] = []
    for group in _groups(feeds, names):
        path = directory / f"samples-{len(paths):05d}.npz"
        _write_npz(path, {name: join([feed[name] for feed in group]) for name in names})
        paths.append(str(path))
    return tuple(paths)


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


def _write_npz(path: Path, arrays: dict[str, Array]) -> None:
    # np.savez takes names as keyword arguments, so an input called "file" would break it.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


class SampleLibrary:
    """Samples by index. ``load`` brings some into memory; ``feed`` joins loaded ones into one feed.

    Raises ``BadInput`` naming the file where it lacks an input or does not fit the engine.
    """

    def __init__(self, paths: Sequence[str], specs: Sequence[TensorSpec]) -> None:
        self.specs, self.joinable = tuple(specs), joinable(specs)
        self._files = [Path(path) for path in paths]
        self._places: list[tuple[int, int]] = []
        self._sample_bytes = 1
        for number, path in enumerate(self._files):
            count, size = _measure(path, self.specs, self.joinable)
            self._places += [(number, row) for row in range(count)]
            self._sample_bytes = max(self._sample_bytes, size)
        if not self._places:
            raise BadInput("no samples for LoadGen", fix="give data (--data) or evaluation data (--eval-data)")
        self._feeds: dict[int, Feed] = {}
        self._slots: dict[int, int] = {}
        self._stores: dict[str, Array] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def performance_count(self) -> int:
        """How many samples fit in memory together (LoadGen's performance sample count)."""
        return max(1, min(len(self), MEMORY_BYTES // self._sample_bytes))

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
        feeds: dict[int, Feed] = {}
        ordered = sorted(set(indices))
        for number, group in groupby(ordered, key=lambda index: self._places[index][0]):
            arrays = _read(self._files[number], self.specs)
            for index in group:
                feeds[index] = self._sample(arrays, self._places[index][1])
        if self.joinable and len({self._shapes(feed) for feed in feeds.values()}) == 1:
            self._slots = {index: slot for slot, index in enumerate(feeds)}
            self._stores = {s.name: np.concatenate([f[s.name] for f in feeds.values()]) for s in self.specs}
            feeds = {i: {n: a[slot : slot + 1] for n, a in self._stores.items()} for i, slot in self._slots.items()}
        self._feeds = feeds

    def unload(self) -> None:
        self._feeds, self._slots, self._stores = {}, {}, {}

    def feed(self, indices: Sequence[int]) -> Feed:
        """One feed of loaded samples; several only where ``joinable`` and of equal shapes."""
        if len(indices) == 1:
            return self._feeds[indices[0]]
        if self._stores:
            slots = [self._slots[index] for index in indices]
            return {name: store.take(slots, 0) for name, store in self._stores.items()}
        feeds = [self._feeds[index] for index in indices]
        return {spec.name: np.concatenate([feed[spec.name] for feed in feeds]) for spec in self.specs}

    def batches(self, ids: Sequence[int], indices: Sequence[int], size: int) -> Iterator[tuple[list[int], list[int]]]:
        """(query sample ids, sample indices) in batches of up to ``size`` that can be joined, bucketed by shape."""
        if self._stores or size == 1:
            for start in range(0, len(ids), size):
                yield list(ids[start : start + size]), list(indices[start : start + size])
            return
        pairs = sorted(zip(ids, indices, strict=True), key=lambda pair: self._shapes(self._feeds[pair[1]]))
        for _, group in groupby(pairs, key=lambda pair: self._shapes(self._feeds[pair[1]])):
            alike = list(group)
            for start in range(0, len(alike), size):
                part = alike[start : start + size]
                yield [pair[0] for pair in part], [pair[1] for pair in part]

    def _sample(self, arrays: dict[str, Array], row: int) -> Feed:
        if self.joinable:
            return {name: array[row : row + 1] for name, array in arrays.items()}
        return {s.name: np.asarray(a[row], order="C") for s, a in zip(self.specs, arrays.values(), strict=True)}

    def _shapes(self, feed: Feed) -> tuple[tuple[int, ...], ...]:
        return tuple(feed[spec.name].shape for spec in self.specs)


def _read(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        return {spec.name: _with_sample_axis(archive[spec.name], spec) for spec in specs}


def _with_sample_axis(array: Array, spec: TensorSpec) -> Array:
    """A sample that was saved alone, with exactly the model's rank and no dynamic batch, counts as one."""
    lone = array.ndim == len(spec.shape) and not (spec.shape and isinstance(spec.shape[0], str))
    return array[None] if lone else array


def _measure(path: Path, specs: Sequence[TensorSpec], joins: bool) -> tuple[int, int]:
    """(samples, bytes of one sample) of a file, from the array headers alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {spec.name: _header(archive, spec, path) for spec in specs}
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"not a readable .npz file: {error}", where=str(path)) from error
    counts = set()
    size = 0
    for spec in specs:
        shape, dtype = headers[spec.name]
        lone = not joins and len(shape) == len(spec.shape)
        counts.add(1 if lone else shape[0])
        size += dtype.itemsize * int(np.prod(shape if lone else shape[1:]))
    if len(counts) != 1:
        raise BadInput(f"inputs have different numbers of samples: {sorted(counts)}", where=str(path))
    return counts.pop(), size


def _header(archive: zipfile.ZipFile, spec: TensorSpec, path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    try:
        member = archive.open(f"{spec.name}.npy")
    except KeyError:
        raise BadInput(f"lacks input {spec.name!r}", where=str(path), expected=", ".join(archive.namelist())) from None
    with member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        return shape, dtype
