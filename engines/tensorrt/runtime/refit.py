"""New weights for a loaded engine that was built to take them: no build, the kernels stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.tensorrt.library import Library, listening, process_logger

_SHOWN = 5  # names of missing weights in a message
"""Names in a message; there may be hundreds."""


def refit(library: Library, engine: Any, model: Path) -> None:
    """Put the weights of the ONNX file ``model`` into an ``ICudaEngine``; its graph must be the one that was built.

    Raises ``EngineError`` naming what does not fit; the engine is then unchanged.
    """
    errors: list[str] = []
    with listening(lambda level, text: errors.append(text) if "ERROR" in level else None):
        refitter = library.module.Refitter(engine, process_logger(library))
        parser = library.module.OnnxParserRefitter(refitter, process_logger(library))
        read = parser.refit_from_file(str(model))
        messages = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        if not read:
            raise _misfit(model, [*messages, *errors])
        missing = list(refitter.get_missing_weights())
        if missing:
            raise _misfit(model, [f"it lacks {', '.join(missing[:_SHOWN])}"])
        if not refitter.refit_cuda_engine():
            raise _misfit(model, errors)


def serialized(library: Library, engine: Any) -> memoryview:
    """The plan of an engine with its weights, those of a stripped one included."""
    config = engine.create_serialization_config()
    config.clear_flag(library.module.SerializationFlag.EXCLUDE_WEIGHTS)
    return memoryview(engine.serialize_with_config(config))


def _misfit(model: Path, reasons: list[str]) -> EngineError:
    return EngineError(
        f"the engine cannot take these weights: {'; '.join(dict.fromkeys(reasons)) or 'no reason given'}",
        where=str(model),
        expected="the graph the engine was built from, with other weights (same names and shapes)",
        fix="build a new engine from it",
    )
