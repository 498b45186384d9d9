"""Shapes of made-up inputs that the model runs on: those its names let expect, or else found by trying."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from calibration.source import OpenedSource
from calibration.sources.lengths import other_shapes
from engines.engine import Engine, TensorSpec
from engines.errors import EngineError

LONGEST_S = 20.0
"""Seconds after which no more shapes are tried. Chosen: most that do not fit fail at once."""

Shapes = Mapping[str, Sequence[int]]


def shapes_that_run(
    engine: Engine, specs: Sequence[TensorSpec], given: Shapes, made_up: Callable[[Shapes], OpenedSource]
) -> Shapes:
    """``given``, where the model runs on what is ``made_up`` with it; else the first other shapes on which it does,
    and ``given`` again where there are none.
    """
    if _runs(engine, made_up(given)):
        return given
    until = time.monotonic() + LONGEST_S
    for shapes in other_shapes(specs, given):
        if _runs(engine, made_up(shapes)):
            return shapes
        if time.monotonic() > until:
            break
    return given


def _runs(engine: Engine, source: OpenedSource) -> bool:
    try:
        engine.infer(source.peek(None)[0])
    except EngineError:
        return False
    return True
