"""Watching a LoadGen child: its beats, its end, and the end of patience."""

from __future__ import annotations

import json
import os
import selectors
import time
from dataclasses import dataclass

from benchmarks.samples.execute import Activity
from engines.processes.child_process import Child, how_it_ended

LOAD_SECONDS = 300.0
"""Longest time that opening engines and samples may take. Chosen."""
LATE_BEAT_SECONDS = 5.0
"""Beyond the patience with an engine, before a child that sends no beats counts as frozen: a busy machine delays them.
Chosen."""
TICK_SECONDS = 0.1
"""How often the parent looks whether the child has ended. Chosen."""


@dataclass(frozen=True)
class Ending:
    """How a child ended: ``cause`` is empty for a normal end, else a sentence; ``completed`` samples by then."""

    cause: str
    completed: int


def watch(child: Child, pipe: int, stall_s: float, total_s: float | None) -> Ending:
    """Wait for ``child``; kill it when one inference takes over ``stall_s`` seconds, when loading takes over five
    minutes, when no beat comes (a native call that holds the interpreter), or after ``total_s`` (None: no limit).
    """
    watcher, process = _Watcher(stall_s, total_s), child.process
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while process.poll() is None:
            if selector.select(TICK_SECONDS):
                data = os.read(pipe, 1 << 16)
                if data:
                    watcher.hear(data)
                else:
                    selector.unregister(pipe)
                    process.wait()
                    break
            if cause := watcher.impatience():
                child.kill()
                return Ending(cause, watcher.last.completed)
    code = process.returncode
    return Ending("" if code == 0 else watcher.death(code), watcher.last.completed)


class _Watcher:
    def __init__(self, stall_s: float, total_s: float | None) -> None:
        self._stall, self._total = stall_s, total_s
        self._start = self._heard = self._moved = time.monotonic()
        self._rest = b""
        self.last = Activity()

    def hear(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        now = time.monotonic()
        for line in lines:
            activity = Activity(**json.loads(line))
            self._heard = now
            if not _stuck(self.last, activity):
                self._moved = now
            self.last = activity

    def impatience(self) -> str:
        """A sentence when the child must be killed."""
        now = time.monotonic()
        done = f"after {self.last.completed} completed samples"
        if self._total is not None and now - self._start > self._total:
            return f"the run did not end within {self._total:.0f} s, {done}"
        if self.last.stage == "load":
            return f"loading the engine took over {LOAD_SECONDS:.0f} s" if now - self._start > LOAD_SECONDS else ""
        if now - self._moved > self._stall:
            return f"the engine hung: no answer for {self._stall:g} s during {self.last.stage}, {done}"
        if now - self._heard > self._stall + LATE_BEAT_SECONDS:
            return f"the process froze for {self._stall + LATE_BEAT_SECONDS:g} s during {self.last.stage}, {done}"
        return ""

    def death(self, code: int) -> str:
        return (
            f"the engine's process {how_it_ended(code)} during {self.last.stage}, after {self.last.completed} samples"
        )


def _stuck(before: Activity, after: Activity) -> bool:
    """Inside the same inference as at the last beat."""
    busy = after.started > after.finished
    return busy and (before.stage, before.finished) == (after.stage, after.finished)
