"""Custom operators: the standard plugins of full TensorRT and a user's libraries; TensorRT-RTX takes neither."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.tensorrt.differences import load_plugin_library, plugin_registry
from engines.tensorrt.library import Library, process_logger


def load_plugins(library: Library, owner: Any, plugins: Iterable[str]) -> None:
    """Make them known to ``owner``, a ``Builder`` or a ``Runtime``, before it reads a model or a plan.

    Raises ``EngineError`` for a library that is not there.
    """
    if not library.capabilities.plugins:
        return
    library.module.init_libnvinfer_plugins(process_logger(library), "")
    registry = plugin_registry(library, owner)
    for path in plugins:
        if not Path(path).is_file():
            raise EngineError("no such plugin library", where=path, expected="the one the engine was built with")
        load_plugin_library(library, registry, path)
