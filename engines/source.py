"""Opening the engine a LoadGen process drives."""

from __future__ import annotations

from pathlib import Path

from engines.engine import Engine
from engines.user_code import load_callable
from graphs.errors import BadInput

REMOTE = "grpc://"
_REMOTE_SCHEMES = (REMOTE, "http://")


def open_source(source: str, threads: int | None = None) -> Engine:
    """The engine of a bundle's engine folder, of an ``.onnx`` file (ONNX Runtime), of ``grpc://HOST:PORT/MODEL`` (or
    ``http://``: a server of the Open Inference Protocol), or what ``file.py:function`` returns. ``threads`` bounds
    ONNX Runtime's.

    Raises ``BadInput`` when the folder or function is missing, or the function returns something else.
    """
    if source.startswith(_REMOTE_SCHEMES):
        from engines.kserve import KserveEngine

        return KserveEngine.open(source)
    if source.endswith(".onnx"):
        from engines.onnxruntime.engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(Path(source), threads=threads)
    if ":" not in Path(source).name:
        from engines.open import open_engine

        return open_engine(Path(source), threads=threads)
    engine: object = load_callable(source)()
    if not isinstance(engine, Engine):
        raise BadInput(f"returned {type(engine).__name__}, not an engine", where=source)
    return engine
