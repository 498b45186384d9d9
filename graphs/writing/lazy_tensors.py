"""Constants that are computed when they are read, so that no second copy of a model's weights is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array

EAGER_ELEMENTS = 4096
"""Constants up to here are changed at once; larger ones when they are read, so that weights stay on disk. Chosen."""


def lazily(
    change: Callable[[Array], Array],
    tensor: ir.TensorProtocol,
    name: str | None,
    *,
    dtype: ir.DataType | None = None,
    shape: Sequence[int] | None = None,
) -> ir.TensorProtocol:
    """What ``change`` makes of the numbers of ``tensor``, under ``name``: each time the graph is saved or run, and
    nothing of it is kept. ``dtype`` and ``shape`` are what comes out, where they are not those of ``tensor``; numbers
    of another type are cast.
    """
    kind = dtype or tensor.dtype
    sizes = ir.Shape(tuple(shape) if shape is not None else tensor.shape.numpy())

    def evaluate() -> ir.TensorProtocol:
        changed = np.asarray(change(tensor.numpy()), order="C").astype(kind.numpy(), copy=False)
        return ir.Tensor(changed, dtype=kind, name=made.name)

    made = ir.LazyTensor(evaluate, kind, sizes, name=name)
    return made


def small_at_once(
    change: Callable[[Array], Array], tensor: ir.TensorProtocol, name: str | None, dtype: ir.DataType
) -> ir.TensorProtocol:
    """The same, but that a tensor of up to ``EAGER_ELEMENTS`` is changed here and now, and the one given can go."""
    made = lazily(change, tensor, name, dtype=dtype)
    return ir.Tensor(made.numpy(), dtype=dtype, name=name) if tensor.size <= EAGER_ELEMENTS else made
