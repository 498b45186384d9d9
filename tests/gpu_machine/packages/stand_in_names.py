"""What every stand-in for TensorRT is made with: enums of a real release, and classes of a newer one cut down to an
older. On a stand-in machine it lies on the path; other tests import it from ``tests.gpu_machine.packages``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

_SNAPSHOTS = Path(__file__).resolve().parents[2] / "engines" / "conformance" / "snapshots"
NEWEST = "11.4.0.106"


class _Numbered(Enum):
    """An enum as pybind11 makes them: its members are no integers, and have one."""

    def __int__(self) -> int:
        return int(self.value)


def enums_of(version: str) -> Callable[..., type[Enum]]:
    """Enums by name, with the numbers of the real binding of that version; of some only the members named."""
    said = json.loads((_SNAPSHOTS / f"tensorrt-{version}.json").read_text())["enums"]

    def enum(name: str, *members: str) -> type[Enum]:
        return _Numbered(name, {member: said[name][member] for member in members or said[name]})  # type: ignore

    return enum


def without(of: type, *names: str) -> Any:
    """A class with all that ``of`` has, but for what came later."""
    kept = {name: value for name, value in vars(of).items() if name not in (*names, "__dict__", "__weakref__")}
    return type(of.__name__, (), kept)
