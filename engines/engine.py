"""The engine protocol: the one surface through which the rest of the product runs a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Feed: TypeAlias = Mapping[str, Array]
"""One set of inputs a graph can run: input name -> array with the model's own rank and dtype."""


UNNAMED = frozenset({"?", "", "None"})
"""Symbols that exporters write for "some length": two of them say nothing about each other."""

_ML_DTYPES = ("bfloat16", "float8_e4m3fn")


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name (``"float32"``, ``"int64"``) and shape of a graph input or output.

    A dimension is an int, or the ONNX symbol (``"batch"``) where it is dynamic; an unnamed dynamic one is ``"?"``.
    ``batch`` says whether axis 0 counts independent samples, as found out by running the model
    (``calibration.batch_probe``) or told by the user; None where nobody has looked. ``finite`` is False for an output
    that was seen to hold NaN or infinity in the model as given: then it may in an engine, too; and for an input whose
    missing values the model itself tells from numbers. ``declared`` is the model's own type where an engine binds
    another (TensorRT has no float64, and 8.x no int64): a feed may be of either, a result is of the model's.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    batch: bool | None = None
    finite: bool = True
    declared: str = ""

    @property
    def dynamic(self) -> bool:
        return any(isinstance(d, str) for d in self.shape)

    @property
    def batched(self) -> bool:
        """Whether axis 0 is the batch; where nobody has looked, a dynamic one is taken for it."""
        return bool(self.shape) and isinstance(self.shape[0], str) and self.batch is not False

    def numpy_dtype(self) -> np.dtype[Any]:
        return numpy_dtype(self.dtype)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """A numpy dtype by name, with the ``ml_dtypes`` ones numpy has not (``bfloat16``, ``float8_e4m3fn``)."""
    if name in _ML_DTYPES:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return dtype
    return np.dtype(name)


def batchable(specs: Sequence[TensorSpec]) -> bool:
    """Whether samples may be joined along axis 0 of the inputs ``specs`` that are ``batched``.

    Inputs that do not vary with the batch (a scale, a table) may stand beside them only where that was found out.
    """
    if any(spec.batch is None for spec in specs):
        return bool(specs) and all(spec.batched for spec in specs)
    return any(spec.batched for spec in specs)


@runtime_checkable
class Engine(Protocol):
    """Something that runs a graph. A context manager: leaving it frees device memory and threads."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def infer(self, feed: Feed) -> dict[str, Array]:
        """Run once and return every output by name. Raises ``EngineError`` naming the input that does not fit."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_E = TypeVar("_E", bound="ClosedOnExit")


class ClosedOnExit(ABC):
    """An engine whose context, when left, closes it."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self: _E) -> _E:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EngineBase(ClosedOnExit):
    """An engine that learns its specs when it is opened."""

    _inputs: tuple[TensorSpec, ...]
    _outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def infer(self, feed: Feed) -> dict[str, Array]:
        """See ``Engine.infer``."""

    def learn(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] = ()) -> None:
        """Take over what is known of these tensors, which a file or a plan does not tell."""
        self._inputs, self._outputs = told(self._inputs, inputs), told(self._outputs, outputs)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs


def told(specs: Sequence[TensorSpec], known: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """``specs`` with what ``known`` ones of the same names say of axis 0, finite values and the model's own types."""
    by_name = {spec.name: spec for spec in known}
    found = [(spec, by_name.get(spec.name, spec)) for spec in specs]
    return tuple(
        replace(spec, batch=known.batch, finite=known.finite, declared=known.declared) for spec, known in found
    )
