"""What aiohttp logs, in a line each: a client that sends no HTTP writes no traceback on the server's terminal."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable


class _Lines(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        words, error = [record.getMessage()], record.exc_info[1] if record.exc_info else None
        if error is not None:
            words.append(f"{type(error).__name__}: {error}")
            words += [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-1:]]
        self._say(" ".join(" ".join(words).split()))


def logger_to(say: Callable[[str], None]) -> logging.Logger:
    """A logger whose warnings and errors ``say`` hears: what happened, the error and the line it was raised at."""
    logger = logging.Logger("aiohttp", logging.WARNING)
    logger.addHandler(_Lines(say))
    return logger
