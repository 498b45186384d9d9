"""An engine that takes its time and computes nothing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from engines.engine import TensorSpec


class Sleeping:
    """Takes ``seconds`` per call; writes its name into ``log``."""

    inputs = (TensorSpec("x", "float32", ("batch", 2)),)
    outputs = ()

    def __init__(self, seconds: float, log: list[str] | None = None, name: str = "") -> None:
        self._seconds, self._log, self._name = seconds, log, name

    def infer(self, feed: Any) -> dict[str, Any]:
        time.sleep(self._seconds)
        if self._log is not None:
            self._log.append(self._name)
        return {}


FEED = {"x": np.zeros((1, 2), np.float32)}
