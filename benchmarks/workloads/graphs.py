"""Tasks of several graphs: a folder with one engine per part, and the loop around them as one engine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.engine import Array, ClosedOnExit, Engine, Feed, TensorSpec
from graphs.errors import BadInput


def open_parts(folder: str, names: Sequence[str]) -> dict[str, Engine]:
    """The engines ``FOLDER/NAME.onnx`` or ``FOLDER/NAME/`` (a bundle's engine folder). Raises ``BadInput``."""
    from engines.source import open_source

    parts: dict[str, Engine] = {}
    for name in names:
        model, engine = Path(folder) / f"{name}.onnx", Path(folder) / name
        if not model.is_file() and not engine.is_dir():
            raise BadInput(
                f"has no {name!r}",
                where=folder,
                expected=", ".join(f"{n}.onnx or the engine folder {n}/" for n in names),
            )
        parts[name] = open_source(str(model if model.is_file() else engine))
    return parts


class LoopedEngine(ClosedOnExit):
    """Base of engines that run others in a loop: ``inputs`` and ``outputs`` are those of the whole."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, parts: Mapping[str, Engine]) -> None:
        self.parts = dict(parts)

    @abstractmethod
    def infer(self, feed: Feed) -> dict[str, Array]: ...

    def close(self) -> None:
        for part in self.parts.values():
            part.close()
