"""Opening the engine a LoadGen process drives."""

from __future__ import annotations

from pathlib import Path

from benchmarks.task import load_callable
from engines.engine import Engine
from engines.errors import BadInput


def open_source(source: str) -> Engine:
    """The engine of a bundle's engine folder, or what ``file.py:function`` returns.

    Raises ``BadInput`` when the folder or function is missing, or the function returns something else.
    """
    if ":" not in Path(source).name:
        from engines.open import open_engine

        return open_engine(Path(source))
    engine = load_callable(source)()
    if not isinstance(engine, Engine):
        raise BadInput(f"returned {type(engine).__name__}, not an engine", where=source)
    return engine
