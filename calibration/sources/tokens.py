"""JSONL as samples: one JSON object per line, input name -> numbers in nested lists."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from calibration.sources.records import ArrayRecord
from calibration.sources.rows import MemoryRows, readable
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput


@dataclass(frozen=True)
class JsonLines:
    """A JSONL file: each line is one sample with or without its batch axis. Lines are parsed one at a time."""

    path: Path
    specs: tuple[TensorSpec, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    @cached_property
    def count(self) -> int:
        return sum(1 for _ in self._lines())

    def first_keys(self) -> list[str]:
        """The keys of the first line."""
        return next((list(_parse(line, where)) for where, line in self._lines()), [])

    def samples(self, chosen: Collection[int]) -> Iterator[Feed]:
        last = max(chosen, default=-1)
        for position, (where, line) in enumerate(self._lines()):
            if position in chosen:
                yield self._sample(line, where)
            if position >= last:
                return

    def _sample(self, line: bytes, where: str) -> Feed:
        arrays = {name: _array(value, f"{where}: {name!r}") for name, value in _parse(line, where).items()}
        arrays |= completed(arrays, self.specs)
        record = ArrayRecord.of(where, {name: MemoryRows(array) for name, array in arrays.items()}, self.specs)
        if record.layout.empty:
            raise BadInput(record.layout.empty, where=where, expected="at least one value per input")
        if record.count != 1:
            raise BadInput(f"one line holds {record.count} samples", where=where, expected="one sample per line")
        return next(record.samples({0}))

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        with readable(str(self.path)), self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{self.path}, line {number}", line


def completed(arrays: dict[str, Array], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Attention masks (ones) and token types (zeros) that a line leaves out, shaped like an input of the same rank."""
    missing = [spec for spec in specs if spec.name not in arrays]
    given = [(len(spec.shape), arrays[spec.name]) for spec in specs if spec.name in arrays]
    made: dict[str, Array] = {}
    for spec in missing:
        like = next((array for rank, array in given if rank == len(spec.shape)), None)
        fill = completion(spec.name)
        if like is not None and fill is not None:
            made[spec.name] = np.full(like.shape, fill, spec.numpy_dtype())
    return made


def completion(name: str) -> int | None:
    """What an input that a line leaves out is filled with, by its name; ``None`` where it must be given."""
    if "mask" in name.lower():
        return 1
    return 0 if any(word in name.lower() for word in ("token_type", "segment")) else None


def completion_notes(keys: Sequence[str], specs: Sequence[TensorSpec]) -> list[str]:
    """What is going to be filled in when a line has only ``keys``."""
    words = {1: "ones (every token counts)", 0: "zeros (one segment)"}
    left_out = [(s.name, completion(s.name)) for s in specs if s.name not in keys]
    return [f"{name!r} is not in the data: filled with {words[fill]}" for name, fill in left_out if fill is not None]


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"not a JSON object: {error}", where=where, expected="input name -> list of numbers") from error


def _array(value: Any, where: str) -> Array:
    try:
        array: Array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"not a rectangular list of numbers: {error}", where=where) from error
    if array.dtype.kind not in "biuf":
        raise BadInput(f"holds {array.dtype} values", where=where, expected="numbers in lists of equal lengths")
    return array
