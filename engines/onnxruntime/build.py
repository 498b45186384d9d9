"""Make a CPU engine directory: the ONNX file in place, proven to load."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from engines.errors import BuildError, BuildFailure, EngineError
from engines.manifest import EngineManifest
from engines.onnxruntime.reasons import missing_operator
from engines.profile import ShapeProfile
from engines.progress import BuildProgress, OnProgress
from graphs.storage.model_files import model_bytes, model_digest, place_model

MODEL_NAME = "model.onnx"


def build_onnxruntime(
    model: Path,
    directory: Path,
    *,
    target: str,
    precision: str,
    profile: ShapeProfile,
    sparse_weights: bool,
    threads: int | None,
    on_progress: OnProgress,
) -> EngineManifest:
    """Put ``model`` with its external data into ``directory`` and open it once. Raises ``BuildError`` if it cannot."""
    import onnxruntime

    from engines.onnxruntime.engine import OnnxRuntimeEngine

    started = perf_counter()
    on_progress(BuildProgress("placing the model", 0.0))
    file = directory / MODEL_NAME
    data_files = place_model(model, file)
    on_progress(BuildProgress("opening the model", perf_counter() - started))
    try:
        with OnnxRuntimeEngine(file, threads=threads) as engine:
            inputs, outputs = engine.inputs, engine.outputs
    except EngineError as error:
        raise _build_error(error, model) from error
    return EngineManifest(
        target=target,
        backend="onnxruntime",
        backend_version=onnxruntime.__version__,
        compute_capability=None,
        file=MODEL_NAME,
        file_digest=model_digest(file),
        bytes=model_bytes(file),
        precision=precision,
        profile=profile,
        inputs=inputs,
        outputs=outputs,
        build_seconds=round(perf_counter() - started, 3),
        sparse_weights=sparse_weights,
        data_files=data_files,
        threads=threads,
        notes=("2:4 sparsity gains nothing: ONNX Runtime has no sparse kernels",) if sparse_weights else (),
    )


def _build_error(error: EngineError, model: Path) -> BuildError:
    missing = missing_operator(error.__cause__)
    if missing is None:
        return BuildError(BuildFailure.OTHER, error.what, where=str(model))
    fix = "" if missing.known else "replace it by standard operators"
    return BuildError(BuildFailure.UNSUPPORTED_OP, missing.sentence, where=missing.node or str(model), fix=fix)
