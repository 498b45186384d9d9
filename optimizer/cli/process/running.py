"""Run a job from the terminal: progress on standard error, the result on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from graphs.files import to_json
from optimizer.api import optimize
from optimizer.cli.output.progress import ProgressLines, ProgressView
from optimizer.cli.process.invoked import command_line
from optimizer.cli.process.isolated import WHEREABOUTS
from optimizer.events import Listener
from optimizer.result import EXIT_CODES, Result
from optimizer.settings.job import Settings


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

    def job(listeners: Sequence[Listener]) -> Result:
        return optimize(model, settings=settings, out=out, force=force, listeners=listeners, command=command_line())

    return run_and_print(job, as_json=as_json, quiet=quiet, verbose=verbose)


def run_and_print(job: Callable[[Sequence[Listener]], Result], *, as_json: bool, quiet: bool, verbose: bool) -> int:
    """``job``, told who listens, and its report; returns the exit code of the report's status."""
    with _listener(quiet, verbose) as view:
        result = job([view, WHEREABOUTS])
    if as_json:
        sys.stdout.buffer.write(to_json(result.report))
    else:
        from benchmarks.report.text import summarise
        from optimizer.cli.output.printing import console

        summarise(result.report, console(), bundle=result.bundle)
    return EXIT_CODES[result.report.status]


def _listener(quiet: bool, verbose: bool) -> ProgressLines:
    if quiet:
        return ProgressLines(only_warnings=True)
    return ProgressView(verbose) if sys.stderr.isatty() else ProgressLines()


__all__ = ["EXIT_CODES", "Listener", "run_and_print", "run_job"]
