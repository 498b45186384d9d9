"""Starting a TensorRT library's builder or runtime: it has a GPU and a driver it can use, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engines.errors import EngineError
from engines.tensorrt.library import Library, listening, process_logger


def new_builder(library: Library) -> Any:
    """A ``Builder``. Raises ``EngineError`` where the library finds no GPU that it can use."""
    return _started(library, library.module.Builder)


def new_runtime(library: Library) -> Any:
    """A ``Runtime``. Raises ``EngineError`` where the library finds no GPU that it can use."""
    return _started(library, library.module.Runtime)


def _started(library: Library, factory: Callable[[Any], Any]) -> Any:
    said: list[str] = []
    logger = process_logger(library)
    try:
        with listening(lambda level, text: said.append(text) if level in _TOLD else None):
            return factory(logger)
    except TypeError:  # all that pybind11 makes of a library that answers with nothing
        raise EngineError(
            f"{library.title} does not start: {'; '.join(dict.fromkeys(said)) or 'it gave no reason'}",
            expected="an NVIDIA GPU, and a driver that knows the CUDA this library was made for",
            fix="update the driver, or install a TensorRT of its CUDA; `optimize doctor` says what is here",
        ) from None


_TOLD = frozenset({"WARNING", "ERROR", "INTERNAL_ERROR"})
"""TensorRT 8 warns of a driver that is too old ("CUDA initialization failure with error: 35"), later ones err."""
