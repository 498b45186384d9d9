"""Sources made of records: files or dicts that hold one sample or a stack of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, repeat
from pathlib import Path
from typing import Protocol

import numpy as np

from calibration.source import Sample
from calibration.sources.inputs import check_names, fit_array, fit_sample
from calibration.sources.layout import WHOLE, Layout, plan_layout
from calibration.sources.rows import Rows, readable
from engines.engine import Array, Feed, TensorSpec
from graphs.digests import digest_of, sha256_file

PEEKED = 2
"""Feeds looked at to find out what axis 0 counts. Chosen."""


class Record(Protocol):
    """Something that holds ``count`` samples and knows the files they are read from."""

    @property
    def count(self) -> int: ...

    @property
    def files(self) -> tuple[Path, ...]: ...

    def samples(self, chosen: Collection[int]) -> Iterator[Feed]:
        """The samples at the positions ``chosen`` (of 0 .. count - 1), ascending."""
        ...


@dataclass(frozen=True)
class ArrayRecord:
    """Named arrays, cut into samples after ``layout``; ``ignored`` are the names that are no input of the model."""

    where: str
    arrays: Mapping[str, Rows]
    specs: tuple[TensorSpec, ...]
    layout: Layout
    files: tuple[Path, ...] = ()
    ignored: tuple[str, ...] = ()

    @staticmethod
    def of(
        where: str, arrays: Mapping[str, Rows], specs: Sequence[TensorSpec], files: tuple[Path, ...] = ()
    ) -> ArrayRecord:
        """Raises ``BadInput`` where an input is missing or no layout fits the arrays' shapes."""
        ignored = check_names(arrays, specs, where)
        layout = plan_layout({s.name: arrays[s.name].shape for s in specs}, specs, where)
        return ArrayRecord(where, arrays, tuple(specs), layout, files, tuple(ignored))

    @property
    def count(self) -> int:
        return self.layout.count

    def peek(self, rows: int | None) -> Feed:
        """The first feed as it is stored, but at most ``rows`` rows where axis 0 is dynamic: it may be a long batch."""
        feed = {}
        for spec in self.specs:
            cut, stored, first = self.layout.cuts[spec.name], self.arrays[spec.name], (*spec.shape, 0)[0]
            long = rows is not None and cut == WHOLE and isinstance(first, str) and stored.shape[0] > rows
            array = cut.apply(next(stored.blocks(rows if long else cut.rows)))
            feed[spec.name] = fit_array(array, spec, f"{self.where}: {spec.name!r}", joins=False)
        return Sample(feed, self.where)

    def samples(self, chosen: Collection[int]) -> Iterator[Feed]:
        streams = {spec.name: self._cut(spec.name) for spec in self.specs}
        for position in range(max(chosen, default=-1) + 1):
            sample = {name: next(stream) for name, stream in streams.items()}
            if position in chosen:
                where = f"{self.where}, sample {position}" if self.count > 1 else self.where
                yield fit_sample(sample, self.specs, where)

    def _cut(self, name: str) -> Iterator[Array]:
        cut = self.layout.cuts[name]
        blocks = self.arrays[name].blocks(cut.rows)
        if cut.rows is None:
            return map(cut.apply, repeat(next(blocks)))
        if cut.each == 1:
            return map(cut.apply, blocks)
        return (batch[row : row + 1] for batch in map(cut.apply, blocks) for row in range(cut.each))


def layout_notes(records: Sequence[ArrayRecord], kind: str = "files") -> list[str]:
    """What of the data is not fed as it stands: arrays ignored, rows left out or repeated, samples that are empty.
    ``kind`` is what a record is called.
    """
    ignored = sorted({name for record in records for name in record.ignored})
    notes = [f"arrays that are no input of the model are ignored: {', '.join(ignored)}"] if ignored else []
    short = [record for record in records if record.layout.left_out]
    if short:
        left_out = sum(record.layout.left_out for record in short)
        notes.append(
            f"{left_out} rows at the end of {_named(short, kind)} fill no batch of the model's and are left out"
        )
    if filled := [record for record in records if record.layout.filled]:
        notes.append(f"{_named(filled, kind)} with fewer rows than the model's batch: rows are repeated to fill it")
    if empty := [record for record in records if record.layout.empty]:
        notes.append(f"left out: {_named(empty, kind)} where {empty[0].layout.empty}")
    return notes


def _named(records: Sequence[ArrayRecord], kind: str) -> str:
    return records[0].where if len(records) == 1 else f"{len(records)} {kind} (first {records[0].where})"


class RecordSource:
    """Samples of a fixed list of records, all of them or a seeded choice, always in the order of the records."""

    synthetic = False

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        records: Sequence[Record],
        *,
        description: str,
        content: Callable[[Sequence[Record]], str],
        samples: int | None,
        seed: int,
        notes: Sequence[str] = (),
    ) -> None:
        self.specs, self.description, self.notes = tuple(specs), description, tuple(notes)
        self._records, self._content = records, content
        self._ends = list(accumulate(record.count for record in records))
        self.positions = choose(self._ends[-1] if self._ends else 0, samples, seed)

    def peek(self, rows: int | None) -> list[Feed]:
        """The first feeds of the first two records, see ``ArrayRecord.peek``."""
        found: list[Feed] = []
        for record in (record for record in self._records if record.count):
            found.append(record.peek(rows) if isinstance(record, ArrayRecord) else next(record.samples({0})))
            if len(found) == PEEKED:
                break
        return found

    def __len__(self) -> int:
        return len(self.positions)

    def samples(self) -> Iterator[Feed]:
        return self.samples_at(range(len(self)))

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        """Only these samples (indices into this source), in order, reading no record that holds none of them."""
        wanted = [self.positions[i] for i in sorted(indices)]
        for record, chosen in self._by_record(wanted):
            yield from record.samples(chosen)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content of the records that are read and over which of their samples are taken."""
        parts = list(self._by_record(self.positions))
        taken = [sorted(chosen) if len(chosen) < record.count else "all" for record, chosen in parts]
        return digest_of([self._content([record for record, _ in parts]), repr(taken)])

    def _by_record(self, positions: Sequence[int]) -> Iterator[tuple[Record, Collection[int]]]:
        ordered = np.asarray(positions, np.int64)
        start = 0
        for record, end in zip(self._records, self._ends, strict=True):
            low, high = np.searchsorted(ordered, [start, end])
            if high > low:
                yield record, frozenset((ordered[low:high] - start).tolist())
            start = end


def choose(total: int, samples: int | None, seed: int) -> Sequence[int]:
    """Which of ``total`` samples to take: all, or ``samples`` drawn without replacement, ascending; a folder sorted
    by class is not cut to its first classes.
    """
    if samples is None or samples >= total:
        return range(total)
    picked = np.random.default_rng(seed).permutation(total)[:samples]
    return [int(i) for i in np.sort(picked)]


def file_digest(root: Path, settings: str = "") -> Callable[[Sequence[Record]], str]:
    """SHA-256 over each record's files: their names below ``root`` and their bytes, in order, then ``settings``."""

    def digest(records: Sequence[Record]) -> str:
        parts: list[str | bytes] = []
        for path in (path for record in records for path in record.files):
            with readable(str(path)):
                parts += [path.relative_to(root).as_posix(), sha256_file(path)]
        return digest_of([*parts, settings])

    return digest
