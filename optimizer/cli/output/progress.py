"""Stages and elapsed time on standard error: a live view on a terminal, plain lines elsewhere. Never a made-up bar."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.text import Text

from optimizer.cli.output.printing import console
from optimizer.events import Detail, Event, Note, Progress, StageFinished, StageResumed, StageStarted


class ProgressLines:
    """One line per finished stage, note and warning."""

    def __init__(self, only_warnings: bool = False) -> None:
        self._only_warnings, self._start, self._titles = only_warnings, time.perf_counter(), {"": ""}

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note) and event.level == "warning":
            self._line(f"warning: {event.message}")
        elif self._only_warnings:
            return
        elif isinstance(event, StageStarted):
            self._titles[event.stage] = event.title
        elif isinstance(event, StageResumed):
            self._line(f"{event.title}: kept from an earlier run")
        elif isinstance(event, StageFinished):
            self._line(f"{self._titles[event.stage]}  {event.seconds:.1f} s")
        elif isinstance(event, Note):
            self._line(f"  {event.message}")

    def _line(self, text: str) -> None:
        line = f"[{time.perf_counter() - self._start:6.1f} s] {text}\n"
        print(line, end="", file=sys.stderr, flush=True)  # one write: stages side by side tell theirs from two threads


class ProgressView(ProgressLines):
    """The same lines, and below them what runs now with its own elapsed time, which keeps counting by itself."""

    def __init__(self, verbose: bool = False) -> None:
        super().__init__()
        self._verbose = verbose
        self._console = console(stderr=True)
        self._title, self._since, self._detail = "starting", time.perf_counter(), ""
        self._status = self._console.status(self)

    def __rich__(self) -> Text:
        """What the spinner shows; rich asks anew at every frame."""
        running = f"{self._title}  {time.perf_counter() - self._since:.0f} s  "
        return Text.assemble(running, (self._detail, "dim"), overflow="ellipsis", no_wrap=True)

    def __enter__(self) -> ProgressView:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._title, self._since, self._detail = event.title, time.perf_counter(), ""
        elif isinstance(event, Progress | Detail) and event.stage in self._titles:
            self._title = self._titles[event.stage]  # of stages side by side the one that spoke last
        if isinstance(event, Progress):
            total = f" of {event.total}" if event.total else ""
            self._detail = f"{event.done}{total} {event.unit}"
        elif isinstance(event, Detail):
            self._detail = event.text
        if self._verbose or not (isinstance(event, Note) and event.level == "info"):
            super().__call__(event)

    def _line(self, text: str) -> None:
        self._console.print(f"[{time.perf_counter() - self._start:6.1f} s] {text}")
