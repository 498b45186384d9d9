"""Run the main job from the terminal: progress on standard error, the result on standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from graphs.files import to_json
from optimizer.cli.invoked import command_line
from optimizer.cli.isolated import WHEREABOUTS
from optimizer.cli.progress import ProgressLines, ProgressView
from optimizer.events import Listener
from optimizer.main_job import optimize
from optimizer.result import EXIT_CODES
from optimizer.settings import Settings


def run_job(
    model: Path,
    settings: Settings,
    *,
    out: Path | None = None,
    force: bool = False,
    as_json: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> int:
    """Optimize and print; returns the exit code that the contract gives to the report's status."""
    with _listener(quiet, verbose) as view:
        result = optimize(
            model, settings=settings, out=out, force=force, listeners=[view, WHEREABOUTS], command=command_line()
        )
    if as_json:
        sys.stdout.buffer.write(to_json(result.report))
    else:
        from benchmarks.report.text import summarise
        from optimizer.cli.printing import console

        summarise(result.report, console(), bundle=result.bundle)
    return EXIT_CODES[result.report.status]


def _listener(quiet: bool, verbose: bool) -> ProgressLines:
    if quiet:
        return ProgressLines(only_warnings=True)
    return ProgressView(verbose) if sys.stderr.isatty() else ProgressLines()


__all__ = ["EXIT_CODES", "Listener", "run_job"]
