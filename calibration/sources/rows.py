"""Reading arrays block by block along axis 0, so that memory does not grow with the number of samples. No pickle."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy

from engines.engine import Array
from graphs.errors import BadInput


class Rows(Protocol):
    """An array that can be walked along its first axis."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def blocks(self, rows: int | None) -> Iterator[Array]:
        """Consecutive blocks of ``rows`` along axis 0; with ``None``, the whole array once."""
        ...


@dataclass(frozen=True)
class MemoryRows:
    """An array that is in memory already."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def blocks(self, rows: int | None) -> Iterator[Array]:
        if rows is None:
            yield self.array
            return
        for start in range(0, self.array.shape[0], rows):
            yield self.array[start : start + rows]


@dataclass(frozen=True)
class NpyRows:
    """An array in NPY format behind ``open``: a ``.npy`` file or a member of a ``.npz``.

    Blocks are read, not memory-mapped: pages of a mapped file stay in the process's resident memory.
    """

    open: Callable[[], IO[bytes]]
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    def blocks(self, rows: int | None) -> Iterator[Array]:
        with readable(self.where), self.open() as stream:
            if rows is None or self.fortran:
                # Column-major rows lie scattered over the file; such an array is read whole.
                yield from MemoryRows(npy.read_array(stream, allow_pickle=False)).blocks(rows)
                return
            _read_header(stream, self.where)
            block = (rows, *self.shape[1:])
            for _ in range(self.shape[0] // rows):
                yield self._read_block(stream, block)

    def _read_block(self, stream: IO[bytes], shape: tuple[int, ...]) -> Array:
        size = math.prod(shape) * self.dtype.itemsize
        content = stream.read(size)
        if len(content) != size:
            raise EOFError(f"the array ends {size - len(content)} bytes early")
        return np.frombuffer(content, self.dtype).reshape(shape)


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn what numpy, zipfile and zlib raise about damaged content into ``BadInput`` naming ``where``."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput("no such file", where=where) from error
    except PermissionError as error:
        raise BadInput("may not be read", where=where, fix="check the file's permissions") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise BadInput(f"cannot be read: {error}", where=where, fix="the file is damaged or incomplete") from error


def open_npy(path: Path) -> NpyRows:
    """The array of a ``.npy`` file; only its header is read. Raises ``BadInput``."""
    return _describe(lambda: path.open("rb"), str(path))


def open_npz(path: Path) -> dict[str, NpyRows]:
    """The arrays of a ``.npz`` file by key; only their headers are read. Raises ``BadInput``."""
    with readable(str(path)), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    if not members:
        raise BadInput("holds no arrays", where=str(path), expected="a .npz written by np.savez")
    return {m.removesuffix(".npy"): _describe(_member_opener(path, m), f"{path}: {m[:-4]!r}") for m in members}


def _member_opener(path: Path, member: str) -> Callable[[], IO[bytes]]:
    def open_member() -> IO[bytes]:
        # zipfile keeps the archive's file open until the member's stream is closed too.
        with zipfile.ZipFile(path) as archive:
            return archive.open(member)

    return open_member


def _describe(opener: Callable[[], IO[bytes]], where: str) -> NpyRows:
    with readable(where), opener() as stream:
        shape, fortran, dtype = _read_header(stream, where)
    return NpyRows(opener, where, shape, dtype, fortran)


def _read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise BadInput(f"NPY format version {version} holds structured data", where=where, expected="a plain array")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise BadInput(
            "holds Python objects, which only pickle could read", where=where, expected="a plain numeric array"
        )
    return shape, fortran, dtype
