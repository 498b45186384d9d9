"""Scalars about the tensors of a graph, one per tap and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.graph import running
from graphs.cutting.taps import Taps

ScalarTaps: TypeAlias = Taps[tuple[str, str]]
"""Known by what is measured and of which tensor or node."""


class Readings:
    """Runs a tapped graph."""

    def __init__(self, engine: OnnxRuntimeEngine, names: Mapping[tuple[str, str], str]) -> None:
        self._engine, self._names = engine, names

    def of(self, feed: Feed) -> dict[tuple[str, str], float]:
        """Every tap's scalar for one feed."""
        found = self._engine.infer(feed)
        return {key: float(found[name]) for key, name in self._names.items()}


@contextmanager
def opened(taps: ScalarTaps) -> Iterator[Readings]:
    """Readings of the graph that ``taps`` were put into, whose own outputs are gone afterwards."""
    names = taps.cut()
    with running(taps.model, fuse_qdq=False) as engine:
        yield Readings(engine, names)
