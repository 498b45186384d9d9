"""Samples in ``.npz`` files: read by index, measured from the array headers alone."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed, TensorSpec
from engines.feeds.batching import batched_names
from graphs.errors import BadInput


def write_npz(path: Path, arrays: Feed) -> None:
    """``np.savez`` takes names as keyword arguments, so an input called "file" would break it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The arrays of the inputs ``specs``. NPY keeps only the size of bfloat16, so the model's own type is put back."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {spec.name: archive[spec.name] for spec in specs}
    return {s.name: a.view(s.numpy_dtype()) if (a := arrays[s.name]).dtype.kind == "V" else a for s in specs}


class FileStore:
    """Samples of files that ``benchmarks.samples.library.save_samples`` wrote.

    ``sample_bytes`` is the size of the largest sample. Raises ``BadInput`` naming the file where it lacks an input or
    does not fit the engine.
    """

    def __init__(self, paths: Sequence[str], specs: Sequence[TensorSpec]) -> None:
        self._specs, self._batched = tuple(specs), batched_names(specs)
        self._files = [Path(path) for path in paths]
        self._places: list[tuple[int, int]] = []
        self.sample_bytes = 1
        for number, path in enumerate(self._files):
            count, size = _measure(path, self._specs, self._batched)
            self._places += [(number, row) for row in range(count)]
            self.sample_bytes = max(self.sample_bytes, size)

    def __len__(self) -> int:
        return len(self._places)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Feed]]:
        """(index, feed) in ascending order; each file is opened once."""
        for number, group in groupby(sorted(set(indices)), key=lambda index: self._places[index][0]):
            arrays = _read(self._files[number], self._specs, self._batched)
            for index in group:
                yield index, self._sample(arrays, self._places[index][1])

    def _sample(self, arrays: dict[str, Array], row: int) -> Feed:
        return {
            name: array[row : row + 1] if name in self._batched else np.asarray(array[row], order="C")
            for name, array in arrays.items()
        }


def _read(path: Path, specs: Sequence[TensorSpec], batched: Sequence[str]) -> dict[str, Array]:
    arrays = read_npz(path, specs)
    return {s.name: arrays[s.name][None] if _lone(arrays[s.name].shape, s, batched) else arrays[s.name] for s in specs}


def _lone(shape: tuple[int, ...], spec: TensorSpec, batched: Sequence[str]) -> bool:
    """A sample that was saved alone, with exactly the model's rank and no batch, counts as one."""
    return len(shape) == len(spec.shape) and spec.name not in batched


def _measure(path: Path, specs: Sequence[TensorSpec], batched: Sequence[str]) -> tuple[int, int]:
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
        lone = _lone(shape, spec, batched)
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
