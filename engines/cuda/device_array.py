"""Arrays that already lie on the GPU: taken from other libraries and handed to them without a copy.

In: anything with ``__cuda_array_interface__`` (CuPy, PyTorch, Numba) or ``__dlpack__`` on a CUDA device (JAX too).
Out: ``DeviceArray`` offers ``__cuda_array_interface__``, version 3.
Sources: Numba "CUDA Array Interface (version 3)"; DLPack C header and its Python specification.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.errors import EngineError

CUDA_DEVICE = 2  # kDLCUDA
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}  # DLDataTypeCode


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array at a device address. ``owner`` keeps the memory alive; ``stream`` is where it is written."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: Any = field(default=None, repr=False, compare=False)
    stream: int | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": self.stream,
            "version": 3,
        }


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def on_device(value: Any) -> bool:
    """Whether ``value`` is an array that lies on a CUDA device."""
    if hasattr(value, "__cuda_array_interface__"):
        return True
    return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) == CUDA_DEVICE


def array_dtype(value: Any) -> Any:
    """The numpy dtype of a host or device array; of PyTorch tensors, too, whose own ``dtype`` is not numpy's."""
    if hasattr(value, "__cuda_array_interface__") and not isinstance(value, DeviceArray):
        return np.dtype(value.__cuda_array_interface__["typestr"])
    return value.dtype


def device_array(value: Any, stream: int, where: str) -> DeviceArray:
    """``value`` as a ``DeviceArray``, without a copy, ready to be read by work on ``stream`` (a CUDA stream handle).

    DLPack orders the producer's work before ``stream`` itself. With ``__cuda_array_interface__`` the result's
    ``stream`` is the producer's, and the caller orders them. Raises ``EngineError`` naming ``where`` for an array that
    is not C-contiguous.
    """
    if isinstance(value, DeviceArray):
        return value
    if hasattr(value, "__cuda_array_interface__"):
        return _from_interface(value, where)
    return from_capsule(value.__dlpack__(stream=stream), where)


def _from_interface(value: Any, where: str) -> DeviceArray:
    interface = value.__cuda_array_interface__
    shape, dtype = tuple(int(n) for n in interface["shape"]), np.dtype(interface["typestr"])
    _require_contiguous(shape, interface.get("strides"), dtype.itemsize, where)
    if interface.get("mask") is not None:
        raise EngineError("a masked array cannot be an input", where=where)
    return DeviceArray(int(interface["data"][0]), shape, dtype, value, interface.get("stream"))


def from_capsule(capsule: Any, where: str) -> DeviceArray:
    """Read an unversioned DLPack capsule. It stays unconsumed and is kept as the owner: freeing it frees the memory."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _DLTensor.from_address(pointer(capsule, b"dltensor"))
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    dtype = _dlpack_dtype(tensor.code, tensor.bits, tensor.lanes, where)
    if tensor.strides:
        strides = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
        _require_contiguous(shape, strides, dtype.itemsize, where)
    return DeviceArray(int(tensor.data or 0) + tensor.byte_offset, shape, dtype, capsule)


def _dlpack_dtype(code: int, bits: int, lanes: int, where: str) -> np.dtype[Any]:
    kind = _KINDS.get(code)
    if kind is None or lanes != 1:
        raise EngineError(f"DLPack type {code} with {bits} bits and {lanes} lanes has no numpy form", where=where)
    if kind == "bfloat":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype("bool") if kind == "bool" else np.dtype(f"{kind}{bits}")


def _require_contiguous(shape: tuple[int, ...], strides: Any, itemsize: int, where: str) -> None:
    if strides is None or 0 in shape:
        return
    expected = itemsize
    for extent, stride in zip(reversed(shape), reversed(tuple(strides)), strict=True):
        if extent != 1 and stride != expected:
            raise EngineError(
                f"strides {tuple(strides)} are not C-contiguous for shape {shape}",
                where=where,
                fix="pass a contiguous array (for example x.contiguous())",
            )
        expected *= extent
