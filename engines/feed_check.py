"""Whether a feed fits a graph's inputs, said by name before a library is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engines.engine import Array, TensorSpec
from engines.errors import EngineError


class FeedCheck:
    """Raises ``EngineError`` naming the input that is missing, unknown, or of another dtype or shape. Built once: a
    call costs about a microsecond per input.
    """

    def __init__(self, specs: Sequence[TensorSpec], where: str) -> None:
        self._where = where
        self._checks = {spec.name: _InputCheck(spec) for spec in specs}

    def __call__(self, feed: Mapping[str, Array]) -> None:
        for name, check in self._checks.items():
            if name not in feed:
                raise EngineError("missing from the feed", where=f"input {name!r}", expected=check.form)
            check(feed[name])
        if len(feed) != len(self._checks):
            unknown = ", ".join(repr(name) for name in feed if name not in self._checks)
            raise EngineError(f"the model has no input {unknown}", where=self._where, expected=self.signature())

    def signature(self) -> str:
        """Names, dtypes and shapes of all inputs."""
        return "; ".join(f"{name}: {check.form}" for name, check in self._checks.items())


class _InputCheck:
    def __init__(self, spec: TensorSpec) -> None:
        self._where = f"input {spec.name!r}"
        # ONNX Runtime takes bfloat16 only through OrtValues; its own message says so better than a dtype check would.
        self._dtype = None if spec.dtype in ("bfloat16", "object") else spec.numpy_dtype()
        self._rank = len(spec.shape)
        self._fixed = [(axis, size) for axis, size in enumerate(spec.shape) if isinstance(size, int)]
        self.form = f"{spec.dtype} [{', '.join(map(str, spec.shape))}]"

    def __call__(self, array: Array) -> None:
        if not isinstance(array, np.ndarray):
            raise EngineError(f"got {type(array).__name__}, not a numpy array", where=self._where, expected=self.form)
        shape = array.shape
        if (
            (self._dtype is None or array.dtype == self._dtype)
            and len(shape) == self._rank
            and all(shape[axis] == size for axis, size in self._fixed)
        ):
            return
        got = f"{array.dtype} [{', '.join(map(str, shape))}]"
        raise EngineError(f"got {got}", where=self._where, expected=self.form)
