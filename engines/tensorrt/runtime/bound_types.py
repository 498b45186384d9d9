"""Between the types that a model declares and those that its plan binds, where TensorRT lacks the former.

No TensorRT has float64 and 8.x has no int64: plans read and give float32 and int32 there. Feeds of the model's own
types are taken all the same, where their values fit, and results are given in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.engine import Array, TensorSpec, numpy_dtype
from engines.errors import EngineError


def bound(feed: Mapping[str, Any], specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """``feed`` in the types of the plan; only arrays of a declared type that is another are converted.

    Raises ``EngineError`` for a number that the plan's type cannot hold.
    """
    converted = {
        spec.name: _narrowed(feed[spec.name], spec)
        for spec in specs
        if spec.declared and isinstance(feed.get(spec.name), np.ndarray) and feed[spec.name].dtype == spec.declared
    }
    return {**feed, **converted}


def declared(outputs: dict[str, Array], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """``outputs`` in the types that the model declares."""
    wider = {spec.name: numpy_dtype(spec.declared) for spec in specs if spec.declared}
    return {name: array.astype(wider[name]) if name in wider else array for name, array in outputs.items()}


def _narrowed(array: Array, spec: TensorSpec) -> Array:
    dtype = spec.numpy_dtype()
    if np.issubdtype(dtype, np.integer) and array.size:
        limits = np.iinfo(dtype)
        low, high = array.min(), array.max()
        if low < limits.min or high > limits.max:
            raise EngineError(
                f"holds {high if high > limits.max else low}",
                where=f"input {spec.name!r}",
                expected=f"numbers that {spec.dtype} holds: the plan binds it so, and the model {spec.declared}",
            )
    return array.astype(dtype)
