"""Shapes that occur in data: what shape profiles can be chosen from."""

from __future__ import annotations

import math
from itertools import islice

from calibration.source import SampleSource


def observed_shapes(source: SampleSource, limit: int | None = 64) -> dict[str, list[tuple[int, ...]]]:
    """Input name -> the distinct shapes of the first ``limit`` samples, smallest volume first."""
    seen: dict[str, set[tuple[int, ...]]] = {spec.name: set() for spec in source.specs}
    for sample in islice(source.samples(), limit):
        for name, array in sample.items():
            seen[name].add(array.shape)
    return {name: sorted(shapes, key=lambda shape: (_volume(shape), shape)) for name, shapes in seen.items()}


def _volume(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
