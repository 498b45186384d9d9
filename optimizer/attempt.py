"""An optional step that may fail: it is left out with a note, and the job goes on with what it had before.

Corrections, measurements and other improvements are worth having, never worth a job. In tests (``STRICT`` set in the
environment, which child processes inherit) the same failure is raised, so that nothing hides behind a note.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

import onnx_ir as ir

from graphs.errors import BadInput, in_a_line

STRICT = "ENGINEWRIGHT_STRICT"
"""Name of the environment variable under which a failed step is raised instead of left out."""
_THE_MACHINES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)
"""Disk full, read-only or broken, memory or file handles used up: not the step's fault, and the next will meet it."""
_LONGEST = 300
"""Characters of a reason that a note keeps: a library may add its whole input to what it says. Chosen."""
_T = TypeVar("_T")


def attempt(what: str, step: Callable[[], _T], otherwise: _T) -> tuple[_T, list[str]]:
    """``step()`` and no notes; where it fails, ``otherwise`` and one note that names ``what`` and the reason.

    ``step`` must leave nothing half done where it fails; ``attempt_on`` takes care of that for a graph. What is not
    the step's own fault is raised: ``BadInput`` (the user's data), an interrupt, memory or disk that has run out.
    """
    try:
        return step(), []
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        if os.environ.get(STRICT) or (isinstance(error, OSError) and error.errno in _THE_MACHINES):
            raise
        return otherwise, [omitted(what, in_a_line(error))]


def attempt_on(
    what: str, model: ir.Model, step: Callable[[ir.Model], _T], otherwise: _T
) -> tuple[ir.Model, _T, list[str]]:
    """``attempt`` for a ``step`` that changes a graph in place: it works on a copy of ``model`` (weights are shared).

    Returns the changed copy, or ``model`` itself, untouched, where the step failed; the step's result; and the notes.
    """
    copy = model.clone()
    result, notes = attempt(what, lambda: step(copy), otherwise)
    return (model if notes else copy), result, notes


def omitted(what: str, reason: str) -> str:
    """``"left out: range search (…the reason…)"``: the note of a step that was not made."""
    short = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}…"
    return f"left out: {what} ({short})"
