"""Feeds of any number of samples through an engine whose profiles take only so many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from engines.engine import Array, Engine, EngineBase, Feed
from engines.feeds.batching import batched_names, row, rows_of
from engines.parallel import in_turn
from engines.profile import ShapeProfile


@runtime_checkable
class HasProfiles(Protocol):
    """An engine that takes shapes within optimization profiles alone."""

    @property
    def profiles(self) -> tuple[ShapeProfile, ...]: ...


def largest_batch(engine: Engine) -> int | None:
    """The most samples that an engine takes at once; None where no profile bounds them."""
    names = batched_names(engine.inputs)
    profiles = engine.profiles if isinstance(engine, HasProfiles) else ()
    most = [min(found) for p in profiles if (found := [p.inputs[n].max[0] for n in names if n in p.inputs])]
    return max(most, default=None)


class InPortions(EngineBase):
    """``engine``, which is fed at most as many samples at a time as ``profiles`` go up to, and at least as many as they
    begin at: a portion that is shorter is filled up with its last sample, whose answers are dropped. ``workers``
    portions run at a time, and a feed is divided among so many: for an engine that uses one core.

    Closing it closes ``engine``. Where samples cannot be joined, or some output does not count them, feeds go through
    as they are.
    """

    def __init__(self, engine: EngineBase, profiles: Sequence[ShapeProfile], workers: int = 1) -> None:
        self._engine, self._inputs, self._outputs = engine, engine.inputs, engine.outputs
        self._names = batched_names(engine.inputs) if all(spec.batched for spec in engine.outputs) else ()
        ranges = [profile.inputs[name] for profile in profiles for name in self._names if name in profile.inputs]
        self._least = min((shapes.min[0] for shapes in ranges), default=1)
        self._most = max((shapes.max[0] for shapes in ranges), default=0)
        self._workers = workers

    def infer(self, feed: Feed) -> dict[str, Array]:
        """See ``Engine.infer``."""
        total = rows_of(feed, self._names)
        size = min(self._most, max(-(-total // self._workers), self._least))
        if not self._most or not total or self._least <= total <= size:
            return self._engine.infer(feed)
        starts = range(0, total, size)
        parts = list(in_turn(lambda at: self._portion(feed, at, min(size, total - at)), starts, self._workers))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _portion(self, feed: Feed, start: int, count: int) -> dict[str, Array]:
        part = row(feed, self._names, start, count)
        if count < self._least:
            order = np.minimum(np.arange(self._least), count - 1)
            part = {name: array[order] if name in self._names else array for name, array in part.items()}
        return {name: array[:count] for name, array in self._engine.infer(part).items()}

    def close(self) -> None:
        self._engine.close()
