"""Running an ONNX Runtime session on numpy arrays, bfloat16 included, which its numpy interface does not know."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from engines.engine import Array, Feed, TensorSpec

BFLOAT16 = "bfloat16"
_ONNX_BFLOAT16 = 16
"""``onnx.TensorProto.BFLOAT16``."""


def run_session(session: Any, feed: Feed, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> list[Array]:
    """The values of ``outputs``, in their order; ``inputs`` and ``outputs`` are the session's own specs."""
    names = [spec.name for spec in outputs]
    if all(spec.dtype != BFLOAT16 for spec in (*inputs, *outputs)):
        found: list[Array] = session.run(names, feed)
        return found
    values = {spec.name: _value(feed[spec.name], spec) for spec in inputs}
    fetched = session.run_with_ort_values(names, values)
    return [_array(value, spec) for value, spec in zip(fetched, outputs, strict=True)]


def _value(array: Array, spec: TensorSpec) -> Any:
    if spec.dtype != BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
    bits = np.asarray(array, spec.numpy_dtype(), order="C").view(np.uint16)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ONNX_BFLOAT16)


def _array(value: Any, spec: TensorSpec) -> Array:
    if spec.dtype != BFLOAT16:
        found: Array = value.numpy()
        return found
    shape = tuple(value.shape())
    count = math.prod(shape)
    if not count:
        return np.zeros(shape, spec.numpy_dtype())
    bits = np.frombuffer((ctypes.c_uint16 * count).from_address(value.data_ptr()), np.uint16)
    return bits.copy().view(spec.numpy_dtype()).reshape(shape)
