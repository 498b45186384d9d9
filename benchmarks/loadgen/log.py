"""Reading LoadGen's detail log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DETAIL_FILE = "mlperf_log_detail.txt"
_PREFIX = ":::MLLOG "


@dataclass(frozen=True)
class DetailLog:
    """``values``: the last value of each key; ``errors``: what LoadGen itself called an error."""

    values: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def number(self, key: str) -> float | None:
        value = self.values.get(key)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def flag(self, key: str) -> bool | None:
        """True, False, or None where the log does not say."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else None

    def text(self, key: str) -> str:
        return str(self.values.get(key, ""))

    @property
    def valid(self) -> bool:
        return self.text("result_validity") == "VALID"

    def milliseconds(self, key: str) -> float | None:
        value = self.number(key)
        return value / 1e6 if value else None  # LoadGen writes 0 where early stopping found no estimate


def read_detail_log(log_dir: Path) -> DetailLog:
    """The log of a run; empty where LoadGen wrote none (it was killed, or never started)."""
    path = log_dir / DETAIL_FILE
    log = DetailLog()
    if not path.is_file():
        return log
    with path.open(errors="replace") as file:
        for line in file:
            if line.startswith(_PREFIX):
                _take(log, line)
    return log


def _take(log: DetailLog, line: str) -> None:
    try:
        entry = json.loads(line[len(_PREFIX) :])
    except ValueError:  # a killed process leaves half a line
        return
    log.values[entry["key"]] = entry["value"]
    if entry.get("metadata", {}).get("is_error"):
        log.errors.append(f"{entry['key']}: {entry['value']}")
