"""What libraries log of graphs that this program changes is nothing that its user could act on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LIBRARIES = ("onnx_ir", "onnxscript")


class _Levels:
    """The libraries' own levels while some thread asks for silence."""

    def __init__(self) -> None:
        self.lock, self.depth, self.kept = Lock(), 0, [logging.NOTSET] * len(_LIBRARIES)

    def ask(self, by: int) -> None:
        with self.lock:
            loggers = [logging.getLogger(name) for name in _LIBRARIES]
            if self.depth == 0:
                self.kept = [logger.level for logger in loggers]
            self.depth += by
            for logger, level in zip(loggers, self.kept, strict=True):
                logger.setLevel(logging.ERROR if self.depth else level)


_levels = _Levels()


@contextmanager
def quiet() -> Iterator[None]:
    """Within, onnx_ir and onnxscript log errors alone, in every thread: Python prints warnings of a library that has no
    handler, some with a traceback (a node that is not folded, an inference that fails and changes nothing).
    """
    _levels.ask(1)
    try:
        yield
    finally:
        _levels.ask(-1)
