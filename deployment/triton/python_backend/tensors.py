"""Arrays to and from tensors of Triton's Python backend, in the process that it runs models in.

Numbers go by DLPack. The backend's own conversion is of a pybind11 that reads numpy 1's types: with numpy 2 a stub
older than that gives tensors of no bytes (seen with 2.51, of release 24.10).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from engines.engine import Array

_BY_DLPACK = "biuf"
"""numpy's kinds that it can carry: bool, integers, floats."""


def from_triton(tensor: Any) -> Array:
    """The array of a request's tensor; numbers share the tensor's memory. Raises ``TritonModelException``."""
    try:
        return np.from_dlpack(tensor)
    except Exception as error:  # text: DLPack has no such type, and what says so differs by release
        _check_conversion(tensor.name())
        array: Array | None = tensor.as_numpy()
        if array is None:
            raise triton.TritonModelException(f"{tensor.name()!r} cannot be read: {error}") from error
        return array


def to_triton(name: str, array: Array) -> Any:
    """A tensor for a response. Raises ``TritonModelException`` where the backend cannot hand this type over."""
    if array.dtype.kind in _BY_DLPACK:
        whole = np.ascontiguousarray(array).reshape(array.shape)
        return triton.Tensor.from_dlpack(name, (whole if whole.flags.writeable else whole.copy()).__dlpack__())
    _check_conversion(name)
    return triton.Tensor(name, array)


def _check_conversion(name: str) -> None:
    if not _converts():
        raise triton.TritonModelException(f"{name!r} holds text: with this Triton that needs numpy below 2")


@cache
def _converts() -> bool:
    """Whether the backend's own conversion understands this numpy."""
    probe = np.arange(1, 4, dtype=np.float32)
    return bool(np.array_equal(triton.Tensor.from_dlpack("probe", probe.__dlpack__()).as_numpy(), probe))
