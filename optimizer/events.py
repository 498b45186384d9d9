"""What a running pipeline tells its audience. Stages emit; the terminal and logs subscribe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias


@dataclass(frozen=True)
class StageStarted:
    stage: str
    title: str


@dataclass(frozen=True)
class StageFinished:
    stage: str
    seconds: float
    summary: str = ""


@dataclass(frozen=True)
class StageResumed:
    """The stage's artifact was already there."""

    stage: str
    title: str


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units; ``total`` is None where nobody can know."""

    stage: str
    done: int
    total: int | None
    unit: str


@dataclass(frozen=True)
class Note:
    """Something a user should read: ``level`` is "info" or "warning"."""

    stage: str
    message: str
    level: str = "info"


@dataclass(frozen=True)
class Detail:
    """What a stage is doing at this moment: worth showing while it lasts, not worth a line of its own."""

    stage: str
    text: str


Event: TypeAlias = StageStarted | StageFinished | StageResumed | Progress | Detail | Note
Listener: TypeAlias = Callable[[Event], None]


_HEARD: ContextVar[tuple[list[str], ...]] = ContextVar("lists that hear warnings", default=())


class _SharedClock:
    """Shares time out among what runs: the seconds of stages side by side add up to those that passed."""

    def __init__(self) -> None:
        self._lock, self._since = Lock(), 0.0
        self._running: dict[object, float] = {}

    def start(self, piece: object) -> None:
        with self._lock:
            self._share()
            self._running[piece] = 0.0

    def read(self, piece: object) -> float:
        with self._lock:
            self._share()
            return self._running[piece]

    def stop(self, piece: object) -> float:
        with self._lock:
            self._share()
            return self._running.pop(piece)

    def _share(self) -> None:
        now = time.perf_counter()
        for piece in self._running:
            self._running[piece] += (now - self._since) / len(self._running)
        self._since = now


class Events:
    """Sends events to listeners and keeps the seconds each stage took, and which were ``kept`` from an earlier run. Of
    stages that run side by side each takes its share of the time, so that ``timings`` add up to what the job took.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners, self._clock = listeners, _SharedClock()
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self.kept: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Note) and event.level == "warning":
            self.warnings.append(event.message)
            for heard in _HEARD.get():
                heard.append(event.message)
        for listener in self._listeners:
            listener(event)

    def resumed(self, stage: str, title: str, seconds: float) -> None:
        """A stage that need not run; it took ``seconds`` when it did."""
        self.timings[stage] = seconds
        self.kept.append(stage)
        self.emit(StageResumed(stage, title))

    def warn(self, stage: str, message: str) -> None:
        self.emit(Note(stage, message, "warning"))

    def note(self, stage: str, message: str) -> None:
        self.emit(Note(stage, message))

    @contextmanager
    def heard(self) -> Iterator[list[str]]:
        """The warnings given meanwhile, of this thread's work alone."""
        heard: list[str] = []
        token = _HEARD.set((*_HEARD.get(), heard))
        try:
            yield heard
        finally:
            _HEARD.reset(token)

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[Callable[[], float]]:
        """Time a stage; it counts as finished only when it did not raise. Yields its elapsed seconds as a function."""
        self.emit(StageStarted(name, title))
        piece = object()
        self._clock.start(piece)
        try:
            yield lambda: self._clock.read(piece)
        finally:
            seconds = self._clock.stop(piece)
        self.timings[name] = seconds
        self.emit(StageFinished(name, seconds))
