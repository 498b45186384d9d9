"""``refit_engine``: an engine directory gets the weights of a new ONNX file, in seconds and with no build."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from engines.cuda.open import open_runtime
from engines.errors import EngineError
from engines.manifest import EngineManifest, check_runs_here
from engines.open import library_for, runtime_here
from engines.tensorrt.differences import serialized
from engines.tensorrt.options import plugin_libraries
from engines.tensorrt.runtime.plan import deserialize
from engines.tensorrt.runtime.refit import refit
from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.files import unwritable
from graphs.staging import staged

_TAKES_WEIGHTS = ("refit", "refit_identical", "refit_individual", "strip_plan")


def refit_engine(directory: Path, model: Path, *, cuda_runtime: str | None = None) -> EngineManifest:
    """Put the weights of ``model`` into the engine in ``directory`` and return its new manifest.

    ``model`` is the typed graph the engine was built from (a bundle's ``model.onnx``) with other weights. The engine
    must have been built with ``refit`` or ``strip_plan``, and its GPU must be here. The directory is replaced whole or
    not at all. Raises ``BadInput`` for a file or engine that cannot be used, ``EngineError`` for what does not fit.
    """
    manifest = EngineManifest.load(directory)
    if not model.is_file():
        raise BadInput("no such file", where=str(model))
    _require_refittable(manifest, directory)
    check_runs_here(manifest, directory, runtime_here(manifest))
    library = library_for(manifest)
    open_runtime(cuda_runtime)  # makes a CUDA context, or says what is missing
    _, engine = deserialize(
        library,
        directory / manifest.file,
        plugins=plugin_libraries(manifest.options),
        version_compatible=manifest.has("version_compatible"),
    )
    refit(library, engine, model)
    try:
        return _replace(manifest, directory, memoryview(serialized(library, engine)), model.name)
    except OSError as error:
        raise unwritable(directory, error, "free some, or copy the engine to where there is more") from error


def _require_refittable(manifest: EngineManifest, directory: Path) -> None:
    if manifest.backend == "onnxruntime":
        raise BadInput("an ONNX Runtime engine is its model", where=str(directory), fix="build it from the new model")
    if not any(manifest.has(option) for option in _TAKES_WEIGHTS):
        raise EngineError(
            "the engine was not built to take new weights",
            where=str(directory / manifest.file),
            fix=f"build it once with --refit, on a machine with {manifest.target}: {manifest.rebuild} --refit",
        )


def _replace(manifest: EngineManifest, directory: Path, plan: memoryview, source: str) -> EngineManifest:
    with staged(directory) as staging:
        for file in directory.iterdir():
            if file.is_file() and file.name != manifest.file:
                shutil.copyfile(file, staging / file.name)
        path = staging / manifest.file
        path.write_bytes(plan)
        refitted = replace(
            manifest,
            file_digest=sha256_file(path),
            bytes=path.stat().st_size,
            options={name: value for name, value in manifest.options.items() if name != "strip_plan"} | {"refit": "on"},
            notes=(*manifest.notes, f"weights of {source} put in by refit"),
        )
        refitted.save(staging)
    return refitted
