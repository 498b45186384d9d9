"""The terminal that verbs print to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Standard output, or error. Names from models and files are printed as they are: never read as markup or emoji."""
    from rich.console import Console

    class Printer(Console):
        def on_broken_pipe(self) -> None:
            """Rich would raise ``SystemExit``; that the reader has left is the command's to say (``cli.isolated``)."""
            raise BrokenPipeError

    return Printer(stderr=stderr, markup=False, emoji=False, highlight=False)
