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
BOUNDARY = 16
"""Bytes. numpy's own arrays begin at a multiple (as all that malloc gives on 64-bit systems); a view into one, a tensor
in a request's body or in Triton's memory need not. There kernels add the same numbers in another order (Eigen's sums
go by packets of 16 bytes from the first such place on) and differ in the last bits. Seen with ReduceSum of 1.32."""


def run_session(session: Any, feed: Feed, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> list[Array]:
    """The values of ``outputs``, in their order; ``inputs`` and ``outputs`` are the session's own specs."""
    names = [spec.name for spec in outputs]
    feed = {name: _placed(array) for name, array in feed.items()}
    if all(spec.dtype != BFLOAT16 for spec in (*inputs, *outputs)):
        found: list[Array] = session.run(names, feed)
        return found
    values = {spec.name: _value(feed[spec.name], spec) for spec in inputs}
    fetched = session.run_with_ort_values(names, values)
    return [_array(value, spec) for value, spec in zip(fetched, outputs, strict=True)]


def _placed(array: Array) -> Array:
    """``array`` at a place from which the answer is that of every other such place."""
    return array.copy() if array.__array_interface__["data"][0] % BOUNDARY else array


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
