"""``optimize verify``: is this bundle whole, and do its engines still do what its report says?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.report.model import read_report
from deployment.release.signature import SIGNATURE, check_signature
from engines.apart.opening import open_apart
from engines.engine import Array, EngineBase, Feed
from engines.errors import BuildError, BuildFailure, EngineElsewhere, EngineError
from engines.integrity import check_engine, check_io
from engines.manifest import EngineManifest
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.open import open_engine
from graphs.errors import BadInput, EnginewrightError, in_a_line
from optimizer.bundle import MANIFEST, REPORT, Bundle
from optimizer.verbs.usual_inputs import usual_inputs

MODEL = "model.onnx"
"""The typed graph of a bundle, which plans are built from."""
SAMPLES = 4
"""Inputs an engine is run on: enough to see that it runs; accuracy is the report's. Chosen."""


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


def verify_bundle(
    path: Path, public_key: Path | None = None, model: Path | None = None, given: Mapping[str, Any] | None = None
) -> Verification:
    """Compare every hash with the manifest and run every engine that this machine can run; with ``public_key``, see
    first whether the manifest is what its owner signed; with ``model``, which the bundle was made of, re-check
    accuracy on the samples of then or those ``given`` (``data``, ``eval_data``). Raises ``BadInput`` for a key or
    signature that is none, another model, and samples that are not there.
    """
    bundle = Bundle(path)
    signed = [_check_signature(bundle, public_key)] if public_key is not None else []
    if not all(check.ok for check in signed):  # nothing in it is to be trusted, nor run
        return Verification(False, signed)
    checks = [*signed, _check_files(bundle), *_check_engines(bundle)]
    if model is not None:
        checks += _check_accuracy(bundle, model, given or {})
    return Verification(all(check.ok for check in checks), checks)


def _check_signature(bundle: Bundle, public_key: Path) -> Check:
    try:
        check_signature(bundle.path / MANIFEST, bundle.path / SIGNATURE, public_key)
    except BadInput:
        raise
    except EnginewrightError as error:
        return Check("signature", False, error.what)
    return Check("signature", True, f"manifest.json is signed with the key of {public_key.name}")


def _check_files(bundle: Bundle) -> Check:
    damaged = bundle.damaged_files()
    count = len(bundle.manifest.files)
    detail = f"{count} files match their hashes" if not damaged else f"changed or missing: {', '.join(damaged)}"
    return Check("files", not damaged, detail)


def _check_engines(bundle: Bundle) -> Iterator[Check]:
    for target in sorted({*bundle.targets(), *_reported(bundle)}):
        try:
            yield Check(target, True, "; ".join(_check_engine(bundle, target)))
        except EnginewrightError as error:
            yield Check(target, False, in_a_line(error))


def _check_accuracy(bundle: Bundle, model: Path, given: Mapping[str, Any]) -> Iterator[Check]:
    from optimizer.verbs.verified_accuracy import Recheck

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="enginewright-verify-")))
        recheck = Recheck.of(bundle, model, given, folder)
        stack.enter_context(recheck.checker)
        for target in bundle.targets():
            name = f"{target} accuracy"
            try:
                yield Check(name, True, recheck.of_engine(target, _opened))
            except BadInput:
                raise
            except EnginewrightError as error:
                elsewhere = _runs_elsewhere(error)
                yield Check(name, elsewhere, f"not re-checked here: {error.what}" if elsewhere else in_a_line(error))


def _reported(bundle: Bundle) -> list[str]:
    """Targets that the report has an engine for."""
    path = bundle.path / REPORT
    try:
        return [name for name, found in read_report(path).targets.items() if found.engine] if path.is_file() else []
    except BadInput:  # its hash says so
        return []


def _check_engine(bundle: Bundle, target: str) -> list[str]:
    """What was found to hold. Raises ``EnginewrightError`` for an engine that is broken."""
    directory = bundle.engine_directory(target)
    manifest = EngineManifest.load(directory)
    graph = directory / manifest.file if manifest.backend == "onnxruntime" else bundle.path / MODEL
    said = check_engine(manifest, directory, graph)
    try:
        return [*said, _run(manifest, directory, bundle.path / MODEL)]
    except EngineError as error:
        if not _runs_elsewhere(error):
            raise
        return [*said, f"not run here: {error.what}"]


def _runs_elsewhere(error: EnginewrightError) -> bool:
    """Whether an engine is for another machine, or for a library that this one lacks: no fault of its own."""
    missing = isinstance(error, BuildError) and error.failure is BuildFailure.MISSING_LIBRARY
    return missing or isinstance(error, EngineElsewhere)


def _run(manifest: EngineManifest, directory: Path, graph: Path) -> str:
    """Run the engine on made-up inputs. One that it does not take, or that gives values that are not finite, is held
    against it only where the graph it was built from does better: no made-up value suits a divisor or a logarithm.
    """
    with _opened(manifest, directory) as engine, _Graph(graph) as reference:
        check_io(manifest, directory, {spec.name for spec in (*engine.inputs, *engine.outputs)})
        finite = {spec.name for spec in engine.outputs if spec.finite}
        said = "every output finite" if len(finite) == len(engine.outputs) else "outputs finite where the model's are"
        for sample in usual_inputs(directory, engine.inputs, graph, SAMPLES).samples():
            try:
                odd = finite & _not_finite(engine.infer(sample))
            except EngineError as error:
                if reference.runs(sample):
                    raise
                return f"opens; made-up inputs do not suit the model: {error.what}"
            if odd and odd <= reference.not_finite(sample):
                said = "outputs finite where model.onnx's are"
            elif odd:
                name = sorted(odd)[0]
                raise EngineError(f"output {name!r} is not finite on a seeded random input", where=str(directory))
    return f"ran {SAMPLES} seeded random inputs, {said}"


def _opened(manifest: EngineManifest, directory: Path) -> EngineBase:
    """The engine; a GPU's in a process of its own, so that its crash is an error. Raises ``EngineElsewhere`` for one of
    another machine.
    """
    return open_engine(directory) if manifest.backend == "onnxruntime" else open_apart(directory)


class _Graph:
    """The graph behind an engine, opened in ONNX Runtime where an engine's answer calls for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: OnnxRuntimeEngine | None = None

    def __enter__(self) -> _Graph:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    def runs(self, sample: Feed) -> bool:
        """Whether it takes a sample; a graph that ONNX Runtime does not open excuses nothing."""
        try:
            engine = self._opened()
        except EngineError:
            return True
        try:
            engine.infer(sample)
        except EngineError:
            return False
        return True

    def not_finite(self, sample: Feed) -> set[str]:
        """Outputs that hold NaN or infinity on a sample."""
        try:
            return _not_finite(self._opened().infer(sample))
        except EngineError:
            return set()

    def _opened(self) -> OnnxRuntimeEngine:
        if self._engine is None:
            self._engine = OnnxRuntimeEngine(self._path, fuse_qdq=False)
        return self._engine


def _not_finite(outputs: Mapping[str, Array]) -> set[str]:
    return {name for name, value in outputs.items() if value.dtype.kind == "f" and not np.isfinite(value).all()}
