"""The command that this process was started with, as reports show it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_ARGUMENTS: list[str] = []


def remember(arguments: Sequence[str]) -> None:
    """Keep what the user gave after ``optimize``."""
    _ARGUMENTS[:] = arguments


def command_line() -> str:
    """The whole command, quoted for a shell."""
    return shlex.join(["optimize", *_ARGUMENTS])
