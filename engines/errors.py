"""What can go wrong when an engine is built, loaded or run."""

from __future__ import annotations

from enum import Enum

from graphs.errors import EnginewrightError


class BuildFailure(str, Enum):
    """Why a build failed, told apart so that the advice fits."""

    UNSUPPORTED_OP = "unsupported op"
    UNSUPPORTED_TYPE = "unsupported type on this target"
    SHAPE = "shape error"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "time limit exceeded"
    CRASH = "builder crashed"
    CANCELLED = "cancelled"
    MISSING_LIBRARY = "library not installed"
    OTHER = "build failed"


class BuildError(EnginewrightError):
    """A target could not build the graph; ``where`` is the ONNX node when the builder names one."""

    def __init__(
        self, failure: BuildFailure, what: str, *, where: str = "", expected: str = "", fix: str = "", log: str = ""
    ) -> None:
        super().__init__(what, where=where, expected=expected, fix=fix)
        self.failure, self.log = failure, log


class EngineError(EnginewrightError):
    """An engine could not be loaded or run."""


class EngineElsewhere(EngineError):
    """The engine is for another machine than this one: nothing is wrong with it."""
