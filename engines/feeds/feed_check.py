"""Whether a feed fits a graph's inputs, said by name before a library is asked: one check for every engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from engines.engine import TensorSpec
from engines.errors import EngineError


class FeedCheck:
    """Raises ``EngineError`` naming the input that is missing, unknown, or of another dtype or shape. Built once: a
    call costs about a microsecond per input.

    ``dtype_of`` gives the dtype of arrays that need not be numpy's (on a device); without it only numpy's are taken.
    ``unchecked`` are dtypes that the engine converts to by itself.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        where: str,
        *,
        dtype_of: Callable[[Any], Any] | None = None,
        unchecked: Collection[str] = (),
    ) -> None:
        self._where = where
        self._checks = {spec.name: _InputCheck(spec, dtype_of, spec.dtype in unchecked) for spec in specs}

    def __call__(self, feed: Mapping[str, Any]) -> None:
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
    def __init__(self, spec: TensorSpec, dtype_of: Callable[[Any], Any] | None, unchecked: bool) -> None:
        self._where, self._dtype_of = f"input {spec.name!r}", dtype_of
        self._dtype = None if unchecked else spec.numpy_dtype()
        self._rank = len(spec.shape)
        self._fixed = [(axis, size) for axis, size in enumerate(spec.shape) if isinstance(size, int)]
        self.form = f"{spec.dtype} [{', '.join(map(str, spec.shape))}]"

    def __call__(self, array: Any) -> None:
        if self._dtype_of is None and not isinstance(array, np.ndarray):
            raise EngineError(f"got {type(array).__name__}, not a numpy array", where=self._where, expected=self.form)
        shape, dtype = array.shape, self._dtype_of(array) if self._dtype_of is not None else array.dtype
        if (
            (self._dtype is None or dtype == self._dtype)
            and len(shape) == self._rank
            and all(shape[axis] == size for axis, size in self._fixed)
        ):
            return
        got = f"{dtype} [{', '.join(map(str, shape))}]"
        raise EngineError(f"got {got}", where=self._where, expected=self.form)
