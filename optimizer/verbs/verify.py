"""``optimize verify``: is this bundle whole, and do its engines still do what its report says?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.sources.open import open_source
from engines.manifest import EngineManifest
from engines.open import open_engine
from graphs.errors import EnginewrightError
from optimizer.bundle import Bundle
from optimizer.stages.index_limits import random_values

SAMPLES = 4


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """Every check in order."""

    ok: bool
    checks: list[Check]


def verify_bundle(path: Path) -> Verification:
    """Compare every hash with the manifest and run every engine that this machine can run."""
    bundle = Bundle(path)
    checks = [_check_files(bundle), *_check_engines(bundle)]
    return Verification(all(check.ok for check in checks), checks)


def _check_files(bundle: Bundle) -> Check:
    damaged = bundle.damaged_files()
    count = len(bundle.manifest.files)
    detail = f"{count} files match their hashes" if not damaged else f"changed or missing: {', '.join(damaged)}"
    return Check("files", not damaged, detail)


def _check_engines(bundle: Bundle) -> Iterator[Check]:
    values = random_values(bundle.path / "model.onnx")
    for target in bundle.targets():
        directory = bundle.engine_directory(target)
        try:
            yield _run_engine(target, directory, values)
        except EnginewrightError as error:
            elsewhere = target != "cpu"
            reason = f"not run here: {error.what}" if elsewhere else str(error)
            yield Check(target, elsewhere, reason)


def _run_engine(target: str, directory: Path, values: dict[str, Any]) -> Check:
    with open_engine(directory) as engine:
        usual = EngineManifest.load(directory).profile.opt_shapes()
        finite = {spec.name for spec in engine.outputs if spec.finite}
        source = open_source("random", engine.inputs, samples=SAMPLES, seed=0, shapes=usual, **values)
        for sample in source.samples():
            for name, value in engine.infer(sample).items():
                if name in finite and value.dtype.kind == "f" and not np.isfinite(value).all():
                    return Check(target, False, f"output {name!r} is not finite on a seeded random input")
        said = "every output finite" if len(finite) == len(engine.outputs) else "outputs finite where the model's are"
    return Check(target, True, f"ran {SAMPLES} seeded random inputs, {said}")
