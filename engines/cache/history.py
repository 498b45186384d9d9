"""How long builds took here before, and what that says about the next one.

One JSON line per build in ``builds.jsonl`` of the cache folder. An estimate is a range with what it stands on, or None:
never a number made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

FILE_NAME = "builds.jsonl"
_KEPT = 1000  # builds that are read back, the newest
"""Builds that are remembered; the oldest are forgotten. Chosen."""
_LIKE = 2.0  # models within this factor in size count as alike; chosen
_ENOUGH = 3  # other models needed before their builds say anything; chosen


@dataclass(frozen=True)
class BuildRecord:
    """One finished build: ``bytes`` is the model file with its external data, ``seconds`` parse and build."""

    model: str
    bytes: int
    library: str
    sm: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """``low_s`` to ``high_s`` seconds, and the builds it was read from, in words."""

    low_s: float
    high_s: float
    basis: str

    def __str__(self) -> str:
        low, high = f"{self.low_s:.0f}", f"{self.high_s:.0f}"
        return f"{low if low == high else f'{low} to {high}'} s in {self.basis}"


class BuildHistory:
    """The record file in ``folder``; reading and writing never fail a build."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def records(self) -> list[BuildRecord]:
        try:
            lines = self._path.read_bytes().splitlines()[-_KEPT:]
        except OSError:
            return []
        return [record for line in lines if (record := _decoded(line)) is not None]

    def add(self, record: BuildRecord) -> None:
        try:
            with self._path.open("ab") as file:  # one write of one line: builds that end together do not mix
                file.write(msgspec.json.encode(record) + b"\n")
        except OSError:
            return

    def estimate(self, model: str, size: int, library: str, sm: str) -> Estimate | None:
        """What earlier builds of this model, on this target or else on others, or of models alike in size, took."""
        builds = [record for record in self.records() if record.library == library]
        same = [record for record in builds if record.model == model]
        here = [record for record in same if record.sm == sm]
        if here:
            return _range(here, f"{_count(here)} of this model")
        if same:
            return _range(same, f"{_count(same)} of this model for other targets")
        alike = [r for r in builds if r.sm == sm and size / _LIKE <= r.bytes <= size * _LIKE]
        if len({record.model for record in alike}) < _ENOUGH:
            return None
        return _range(alike, f"{_count(alike)} of other models of this size")


def _decoded(line: bytes) -> BuildRecord | None:
    try:
        return msgspec.json.decode(line, type=BuildRecord)
    except msgspec.MsgspecError:  # cut off by a kill, or of another version
        return None


def _count(records: Sequence[BuildRecord]) -> str:
    return f"{len(records)} earlier build{'s' if len(records) > 1 else ''}"


def _range(records: Sequence[BuildRecord], basis: str) -> Estimate:
    seconds = [record.seconds for record in records]
    return Estimate(min(seconds), max(seconds), basis)
