"""What became of one model: the row that all three studies write, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import msgspec


class Outcome(str, Enum):
    """From best to worst.

    ``WORKS``: every engine asked for, and its numbers are right. ``REFUSED``: the model, or a GPU's plan, is refused in
    one sentence with the reason (what could be made is right). ``WRONG``: numbers beyond the tolerance, or a report
    that claims other numbers than an independent judge finds. ``CRASHED``: a traceback, an internal error, a dead
    process or no end within the limit.
    """

    WORKS = "works"
    REFUSED = "refused with reason"
    WRONG = "wrong"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Row:
    """One model (or one test of a suite) at one precision.

    ``study`` is ``architectures``, ``backend`` or ``random graphs``; ``kind`` the line of the table it counts in;
    ``seconds`` is the product's wall time, ``cpu_seconds`` what it computed for, children included, which tells more on
    a machine that others use. ``reason`` is one line on a refusal, a wrong number or a crash, empty where it works.
    ``sqnr_db`` is the least SQNR that the report claims of any output, ``judged_db`` what the judge finds for the same
    graph (``judge`` is who), ``cpu_db`` for the CPU's engine, ``plain_db`` for ``model.onnx`` in ONNX Runtime's default
    session (or ``plain_refused``), all in dB against the model as given. ``targets`` holds the status, or the reason,
    of each target.
    """

    study: str
    kind: str
    name: str
    outcome: Outcome
    reason: str = ""
    precision: str = "int8"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: int = 0
    sqnr_db: float | None = None
    judged_db: float | None = None
    cpu_db: float | None = None
    plain_db: float | None = None
    plain_refused: str = ""
    judge: str = ""
    int8_mac_share: float | None = None
    targets: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def append(path: Path, row: Row) -> None:
    """Add ``row`` to the JSON lines of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")


def read(path: Path) -> list[Row]:
    """The rows of ``path``; of several with one name and precision the last counts, so that a rerun replaces."""
    found = {(row.study, row.name, row.precision): row for row in _lines(path)}
    return list(found.values())


def _lines(path: Path) -> Iterator[Row]:
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        if line.strip():
            yield msgspec.json.decode(line, type=Row)
