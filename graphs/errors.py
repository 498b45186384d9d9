"""Errors a user can act on: what went wrong, where, what was expected, how to fix it."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike


class EnginewrightError(Exception):
    """Base of every error that reaches a user.

    ``what`` is one sentence; ``where`` names a file, an ONNX node or a tensor; ``expected`` and ``fix`` are optional
    sentences. ``exit_code`` is what the command returns.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", expected: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.expected, self.fix = what, where, expected, fix

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.fix:
            lines.append(f"fix: {self.fix}")
        return "\n".join(lines)


class BadInput(EnginewrightError):
    """The model, the data or an option cannot be used as given."""

    exit_code = 2


def check_text(name: str | PathLike[str]) -> None:
    """Raises ``BadInput`` for a name of bytes that are no UTF-8: no report, manifest or library can hold it."""
    text = str(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(
            "the name is not UTF-8",
            where=text.encode(errors="backslashreplace").decode(),
            fix="rename it, or run with the locale it was written in (LC_ALL=C.UTF-8)",
        ) from None


def in_a_line(error: Exception) -> str:
    """What ``error`` says, for a table or a list; with its type where it is not one of ours."""
    text = str(error) if isinstance(error, EnginewrightError) else f"{type(error).__name__}: {error}"
    return text.replace("\n", "; ")


def first_few(items: Iterable[object], most: int) -> str:
    """``a, b and 7 more``: the first ``most`` of some, and how many more there are."""
    found = [str(item) for item in items]
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
