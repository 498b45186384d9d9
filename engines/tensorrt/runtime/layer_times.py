"""Where one inference spends its time, layer by layer: TensorRT's ``IProfiler``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from engines.tensorrt.library import Library

RUNS = 20
"""Profiled runs that a layer's time is the median of; chosen."""


class LayerTimes:
    """What a profiler was told: milliseconds by layer name, one per run."""

    def __init__(self) -> None:
        self._told: dict[str, list[float]] = defaultdict(list)

    def add(self, layer: str, milliseconds: float) -> None:
        self._told[layer].append(milliseconds)

    def medians(self) -> dict[str, float]:
        return {layer: median(told) for layer, told in self._told.items()}


@contextmanager
def profiling(library: Library, context: Any) -> Iterator[LayerTimes]:
    """Have an ``IExecutionContext`` report its layers to what this gives, for as long as that is held: TensorRT lets
    no profiler go again.
    """
    times = LayerTimes()
    base: Any = library.module.IProfiler

    class Profiler(base):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            base.__init__(self)  # pybind11 classes demand the direct call

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.add(layer_name, float(ms))

    profiler = Profiler()
    context.profiler = profiler
    yield times
