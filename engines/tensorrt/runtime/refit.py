"""New weights for a loaded engine that was built to take them: no build, the kernels stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from engines.engine import Array
from engines.errors import EngineError
from engines.tensorrt.library import Library, errors_heard, process_logger

_SHOWN = 5  # names of missing weights in a message
"""Names in a message; there may be hundreds. Chosen."""


def refit(library: Library, engine: Any, model: Path) -> None:
    """Put the weights of the ONNX file ``model`` into an ``ICudaEngine``; its graph must be the one that was built.

    Raises ``EngineError`` naming what does not fit; the engine is then unchanged.
    """
    with errors_heard() as errors:
        refitter = library.module.Refitter(engine, process_logger(library))
        kept = _parsed(library, refitter, model, errors) or _by_name(library, refitter, model)
        missing = list(refitter.get_missing_weights())
        if missing:
            raise _misfit(model, [f"it lacks {', '.join(missing[:_SHOWN])}"])
        if not refitter.refit_cuda_engine():
            raise _misfit(model, errors)
        del kept  # read until now


def _parsed(library: Library, refitter: Any, model: Path, errors: list[str]) -> bool:
    """Let the library's parser read the weights; False where it has none for that (before TensorRT 10)."""
    if not library.capabilities.onnx_refitter:
        return False
    parser = library.module.OnnxParserRefitter(refitter, process_logger(library))
    read = parser.refit_from_file(str(model))
    messages = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
    if not read:
        raise _misfit(model, [*messages, *errors])
    return True


def _by_name(library: Library, refitter: Any, model: Path) -> list[Array]:
    """Give the engine its weights by the names the parser gave them, the initializers' own; returns what must live
    until the refit is done. Weights that the engine folded from several have names of their own, and stay missing."""
    wanted, kept = set(refitter.get_all_weights()), []
    for tensor in onnx.load(model).graph.initializer:
        if tensor.name in wanted:
            kept.append(np.ascontiguousarray(numpy_helper.to_array(tensor)))
            if not refitter.set_named_weights(tensor.name, library.module.Weights(kept[-1])):
                raise _misfit(model, [f"{tensor.name} was refused"])
    return kept


def _misfit(model: Path, reasons: list[str]) -> EngineError:
    return EngineError(
        f"the engine cannot take these weights: {'; '.join(dict.fromkeys(reasons)) or 'no reason given'}",
        where=str(model),
        expected="the graph the engine was built from, with other weights (same names and shapes)",
        fix="build a new engine from it",
    )
