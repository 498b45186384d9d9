"""What was measured of a set of nodes, kept in a folder: an interrupted search takes its points back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphs.digests import digest_of
from graphs.errors import BadInput
from graphs.files import read_json, read_record, write_json, write_record
from optimizer.search.frontier import Move, Moves
from optimizer.search.trades import Trade
from optimizer.stages.forms.typed_forms import TypedForm

_POINT, _KEY = "point.json", "search.json"


@dataclass(frozen=True)
class Point:
    """One measured set: its form, what it costs, and the seconds that making and measuring took."""

    moves: list[Move]
    form: TypedForm
    trade: Trade
    seconds: float


@dataclass(frozen=True)
class _Owner:
    key: str


class PointStore:
    """Points of the search that ``key`` identifies, each in a folder of its own; those of another are dropped."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        try:
            kept = read_json(folder / _KEY, _Owner).key == key
        except BadInput:
            kept = False
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_json(folder / _KEY, _Owner(key))

    def point(self, moves: Moves, make: Callable[[Path], Point]) -> Point:
        """The point of a set, from an earlier run or made now; ``make`` gets an empty folder for its graph."""
        place = self._place(moves)
        try:
            return read_record(place / _POINT, Point)
        except BadInput:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            found = make(place)
            write_record(place / _POINT, found)
            return found

    def drop_graph(self, moves: Moves) -> None:
        """Keep what was measured of a set, and not its graph."""
        for path in self._place(moves).iterdir():
            if path.name != _POINT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def forget(self, moves: Moves) -> None:
        """Make the point of a set anew when it is asked for."""
        shutil.rmtree(self._place(moves), ignore_errors=True)

    def _place(self, moves: Moves) -> Path:
        return self.folder / digest_of(part for move in sorted(moves) for part in move)[:16]
