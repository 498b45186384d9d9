"""Plans begun before it is sure that they are wanted: while the form that they are of is checked.

An update's form is mostly within the budget, and checking it leaves part of the cores idle. What is built goes into the
engine cache, where the build proper finds it, or waits for it (``EngineCache.building``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from threading import Event
from types import TracebackType

from engines.build import BuildProgress, build_engine
from engines.errors import BuildError, BuildFailure
from engines.targets.target import Target
from graphs.errors import EnginewrightError
from optimizer.stages.engines.build import Terms


class PlansAhead:
    """Builds plans of ``targets`` on ``terms``; a context manager, at whose end what is still building is stopped."""

    def __init__(self, targets: Sequence[Target], terms: Terms) -> None:
        self._targets, self._terms, self._begun = targets, terms, list[Path]()
        self._stop, self._pool = Event(), ThreadPoolExecutor(max(terms.settings.parallel_builds, 1))

    def __enter__(self) -> PlansAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._pool.shutdown(cancel_futures=True)

    def begin(self, model: Path, precision: str) -> None:
        """Begin to build ``model``, the first that is asked for, which must stay where it is."""
        if self._begun:
            return
        self._begun.append(model)
        for target in self._targets:
            self._pool.submit(copy_context().run, self._build, target, model, precision)

    def keep(self, model: Path | None) -> None:
        """Go on where ``model`` is what was begun; else end that within a tick."""
        if self._begun != [model]:
            self.stop()

    def stop(self) -> None:
        """End what is being built within a tick."""
        self._stop.set()

    def _build(self, target: Target, model: Path, precision: str) -> None:
        with tempfile.TemporaryDirectory(prefix="enginewright-ahead-") as folder:
            request = self._terms.request(target, model, Path(folder) / "engine", precision)
            with suppress(EnginewrightError):  # the build proper says why, where it is wanted
                build_engine(request, self._go_on)

    def _go_on(self, _: BuildProgress) -> None:
        if self._stop.is_set():
            raise BuildError(BuildFailure.CANCELLED, "not wanted any more")
