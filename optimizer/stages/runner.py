"""Stages: named steps that declare what they read and what they leave, and are not run again while that is the same.

A stage's key is a digest of all it reads, and of nothing else. Its result is JSON in a folder of its own, with the
files it made beside it and the warnings it gave. What depends on content alone is ``shared``: it is kept in the cache
too, and a job into any other folder takes it from there. What was measured is its own job's, unless its stage says how
long it may stand for a measurement of others.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Generic, TypeVar

from engines.cache.stages import StageCache
from engines.freed_memory import give_back_freed
from graphs.errors import BadInput
from graphs.files import read_record, write_record
from optimizer.bundle import Workspace
from optimizer.events import Events

T = TypeVar("T")
_RESULT, _FINISHED = "result.json", "stage.json"


@dataclass(frozen=True)
class Stage(Generic[T]):
    """One step; ``kind`` is the dataclass of its result, in which paths of its own files may stand.

    ``leaves`` are folders outside its own that it fills (engines of the bundle): it is not done when a file is gone
    there. A stage with such folders is not ``shared``. A result is taken again for
    ``lasts_s`` seconds; ``worth_sharing`` says of one whether other jobs may take it at all.
    """

    name: str
    title: str
    kind: type[T]
    key: str
    shared: bool = False
    leaves: tuple[Path, ...] = ()
    lasts_s: float = math.inf
    worth_sharing: Callable[[T], bool] = lambda _: True


@dataclass(frozen=True)
class Finished:
    """The status of a stage that ended well: ``seconds`` it took when it ran, ``files`` it left in its folder, the
    ``warnings`` it gave then; ``ended`` in seconds since 1970.
    """

    key: str
    seconds: float
    ended: float
    files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class StageRunner:
    """Runs the stages of one job in its ``workspace``. ``cache`` None: nothing is shared with other jobs; ``afresh``:
    nothing is taken from there, though it is kept. ``subject`` is what the cache says its entries are about.
    """

    def __init__(
        self,
        workspace: Workspace,
        events: Events,
        cache: StageCache | None = None,
        *,
        afresh: bool = False,
        subject: str = "",
    ) -> None:
        self._workspace, self._events, self._cache, self.afresh = workspace, events, cache, afresh
        self._subject = subject

    def folder(self, stage: Stage[T]) -> Path:
        """Where the stage leaves its files."""
        return self._workspace.stage_folder(stage.name, shared=stage.shared)

    def own_folder(self, name: str) -> Path:
        """Where this job keeps what a stage that is interrupted takes back when it runs again."""
        return self._workspace.stage_folder(name, shared=False)

    def run(self, stage: Stage[T], work: Callable[[Path], T], stop: Event | None = None) -> T:
        """The result of an earlier run under the same key, its warnings given again; else that of ``work``, which gets
        an empty folder to leave files in.

        Where another job runs the same shared stage, it is waited for: once ``stop`` is set, that ends with
        ``KeyboardInterrupt``.
        """
        if self.available(stage):
            return self._kept(stage)
        with self._claimed(stage, stop) as waited:
            return self._kept(stage) if waited and self.available(stage) else self._made(stage, work)

    def _kept(self, stage: Stage[T]) -> T:
        folder = self.folder(stage)
        finished = read_record(folder / _FINISHED, Finished)
        self._events.resumed(stage.name, stage.title, finished.seconds)
        for warning in finished.warnings:
            self._events.warn(stage.name, warning)
        return read_record(folder / _RESULT, stage.kind)

    @contextmanager
    def _claimed(self, stage: Stage[T], stop: Event | None) -> Iterator[bool]:
        """The right to run a stage that other jobs share; True where it was another's meanwhile."""
        if self._cache is None or self.afresh or not stage.shared:
            yield False
            return
        told = False

        def wait() -> None:
            nonlocal told
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            if not told:
                self._events.note(stage.name, f"waiting for another job that does the same: {stage.title}")
            told = True

        with ExitStack() as held:
            try:
                waited = held.enter_context(self._cache.making(stage.key, wait))
            except OSError:  # no lock to be had: at worst it is done twice
                waited = False
            yield waited

    def _made(self, stage: Stage[T], work: Callable[[Path], T]) -> T:
        folder = self.folder(stage)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with self._events.stage(stage.name, stage.title) as elapsed, self._events.heard() as warnings:
            result = work(folder)
            give_back_freed()
            write_record(folder / _RESULT, result)
            places = (folder, *stage.leaves)
            files = sorted(os.path.relpath(p, folder) for place in places for p in place.rglob("*") if p.is_file())
            write_record(folder / _FINISHED, Finished(stage.key, elapsed(), time.time(), files, warnings))
        if stage.worth_sharing(result):
            self._keep(stage, folder)
        return result

    def available(self, stage: Stage[T]) -> bool:
        """Whether the stage need not run: done in this workspace, or brought there from the cache now."""
        if self._done(stage):
            return True
        if self._cache is None or self.afresh or not stage.shared:
            return False
        return self._cache.fetch(stage.key, self.folder(stage)) and self._done(stage)

    def _done(self, stage: Stage[T]) -> bool:
        """Whether its result is here, and not too old."""
        folder = self.folder(stage)
        try:
            finished = read_record(folder / _FINISHED, Finished)
        except BadInput:
            return False
        fresh = finished.key == stage.key and time.time() - finished.ended <= stage.lasts_s
        return fresh and all((folder / name).is_file() for name in finished.files)

    def _keep(self, stage: Stage[T], folder: Path) -> None:
        if self._cache is None or not stage.shared:
            return
        try:
            self._cache.store(stage.key, folder, f"{self._subject}: {stage.title}")
        except OSError as error:
            self._events.note(stage.name, f"not kept for other jobs: {error.strerror or error} ({self._cache.root})")
