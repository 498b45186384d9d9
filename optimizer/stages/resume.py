"""Resuming: a stage whose key has not changed is not run again; its result is read back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from graphs.files import read_record, write_record
from optimizer.bundle import Workspace
from optimizer.events import Events, StageResumed

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A named step; ``key`` says what its result depends on, its predecessor's key included."""

    name: str
    title: str
    key: str

    def then(self, name: str, title: str, *depends: str) -> Stage:
        """The step after this one, which depends on all that this one does and on ``depends``."""
        digest = hashlib.sha256("\0".join((self.key, name, *depends)).encode()).hexdigest()
        return Stage(name, title, digest)


def resumable(stage: Stage, kind: type[T], work: Callable[[], T], workspace: Workspace, events: Events) -> T:
    """Run ``work`` and record its result, or read back what an interrupted run recorded."""
    record = workspace.work / f"{stage.name}.json"
    seconds = workspace.done(stage.name, stage.key)
    if seconds is not None and record.is_file():
        events.timings[stage.name] = seconds
        events.emit(StageResumed(stage.name, stage.title))
        return read_record(record, kind)
    with events.stage(stage.name, stage.title) as elapsed:
        result = work()
        write_record(record, result)
        workspace.finish(stage.name, stage.key, elapsed())
    return result
