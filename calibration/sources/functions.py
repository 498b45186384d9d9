"""A Python function, or any re-iterable of dicts, as a source of samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from calibration.sources.records import PEEKED, ArrayRecord, layout_notes
from calibration.sources.rows import MemoryRows
from engines.engine import Feed, TensorSpec
from engines.user_code import RAISED, describe, where_it_left_off
from graphs.digests import digest_of, sample_parts
from graphs.errors import BadInput

LIMIT = 10_000
"""Samples taken of a function where no number is asked for: a generator may never end. Chosen."""

_END = object()

Producer = Callable[[], Iterable[Feed]]


class FunctionSource:
    """What ``produce`` yields, called anew for each pass; up to ``samples`` samples, nothing kept.

    A yielded dict is one sample with or without its batch axis, or a batch of samples. The first use of ``len`` or
    ``digest`` drains one pass: the digest is SHA-256 over name, dtype, shape and bytes of the samples as fed.
    """

    synthetic = False

    def __init__(
        self, specs: Sequence[TensorSpec], produce: Producer, *, description: str, samples: int | None
    ) -> None:
        self.specs, self.description = tuple(specs), description
        self._produce, self._limit = produce, LIMIT if samples is None else samples
        self._notes = () if samples is not None else (f"at most {LIMIT} samples are taken of a function",)
        self._odd: list[ArrayRecord] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, and what of the items seen so far is not fed as it stands."""
        return (*self._notes, *layout_notes(self._odd, "items"))

    def peek(self, rows: int | None) -> list[Feed]:
        """The first two items, see ``ArrayRecord.peek``."""
        return [record.peek(rows) for record in islice(self._records(), PEEKED)]

    def __len__(self) -> int:
        return self._drained[0]

    @property
    def digest(self) -> str:
        return self._drained[1]

    def samples(self) -> Iterator[Feed]:
        count = 0
        for count, sample in enumerate(islice(self._fitted(), self._limit), 1):  # noqa: B007
            yield sample
        self._check_count(count)

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        """Only these samples, in order."""
        chosen = set(indices)
        for index, sample in enumerate(islice(self._fitted(), max(chosen, default=-1) + 1)):
            if index in chosen:
                chosen.remove(index)
                yield sample
        if chosen:
            self._check_count(min(chosen))

    def _check_count(self, count: int) -> None:
        """Raises ``BadInput`` where this pass ended before the first one did."""
        drained = self.__dict__.get("_drained")
        if drained is not None and count < drained[0]:
            raise BadInput(
                f"yielded {drained[0]} samples at first and {count} now",
                where=self.description,
                expected="the same samples at every call",
            )

    @cached_property
    def _drained(self) -> tuple[int, str]:
        count = 0

        def parts() -> Iterator[str | bytes]:
            nonlocal count
            for sample in self.samples():
                count += 1
                yield from sample_parts(sample)

        digest = digest_of(parts())
        if count == 0:
            raise BadInput("yields no samples", where=self.description, expected="dicts of arrays by input name")
        return count, digest

    def _fitted(self) -> Iterator[Feed]:
        self._odd = []
        for record in self._records():
            if record.layout.left_out or record.layout.filled or record.layout.empty:
                self._odd.append(replace(record, arrays={}))
            yield from record.samples(range(record.count))

    def _records(self) -> Iterator[ArrayRecord]:
        for index, item in enumerate(self._items()):
            where = f"{self.description}, item {index}"
            if not isinstance(item, Mapping):
                raise BadInput(
                    f"yields {type(item).__name__}, not a dict", where=where, expected="dicts of arrays by input name"
                )
            arrays = {str(name): MemoryRows(np.asarray(value)) for name, value in item.items()}
            yield ArrayRecord.of(where, arrays, self.specs)

    def _items(self) -> Iterator[Any]:
        try:
            with where_it_left_off():
                produced = self._produce()
                items = iter([produced] if isinstance(produced, Mapping) else produced)
        except RAISED as error:
            raise self._raised(error) from error
        while True:
            try:
                with where_it_left_off():
                    item = next(items, _END)
            except RAISED as error:
                raise self._raised(error) from error
            if item is _END:
                return
            yield item

    def _raised(self, error: BaseException) -> BadInput:
        return BadInput(
            f"failed: {describe(error)}",
            where=self.description,
            expected="a function without arguments that yields dicts of arrays by input name",
        )
