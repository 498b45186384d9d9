"""Inputs for an engine when nobody gives any: seeded random ones, of the shapes that it is tuned for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibration.source import OpenedSource
from calibration.sources.open import open_source
from engines.engine import TensorSpec
from engines.manifest import MANIFEST_NAME, EngineManifest
from optimizer.stages.data.index_limits import random_values


def random_inputs(engine: Path, graph: Path) -> dict[str, Any]:
    """What ``open_source`` should know of random inputs: the usual shapes of the profile, where ``engine`` is an
    engine's folder, and which integers the ONNX file ``graph`` can take, where there is one.

    A default length may lie outside the profile, and outside what the graph can run (a table of positions).
    """
    manifest = EngineManifest.load(engine) if (engine / MANIFEST_NAME).is_file() else None
    return {**random_values(graph), **({"shapes": manifest.profile.opt_shapes()} if manifest is not None else {})}


def usual_inputs(engine: Path, specs: tuple[TensorSpec, ...], graph: Path, samples: int) -> OpenedSource:
    """``samples`` such inputs."""
    return open_source("random", specs, samples=samples, seed=0, **random_inputs(engine, graph))
