"""Arrays to and from tensors of Triton's Python backend, in the process that it runs models in.

The backend's own conversion is of a pybind11 that reads numpy 1's types: with numpy 2 a stub older than that gives
tensors of no bytes, and ends at the first text it is sent (seen with 2.51, of release 24.10). So with numpy 2 numbers
go by DLPack. With numpy 1 they must not: the backend renames the capsule otherwise than numpy's destructor expects,
which complains of that by way of the capsule, and so on until the stack is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from deployment.triton.text import as_bytes
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
    whole = np.asarray(array, order="C")
    if array.dtype.kind in _BY_DLPACK and not _numpy_1():
        return triton.Tensor.from_dlpack(name, (whole if whole.flags.writeable else whole.copy()).__dlpack__())
    _check_conversion(name)
    return triton.Tensor(name, as_bytes(whole))


def check_text(config: Mapping[str, Any]) -> None:
    """Raises ``TritonModelException`` where a tensor of the model's configuration is text, and this numpy cannot be."""
    for tensor in (*config["input"], *config["output"]):
        if tensor["data_type"] == "TYPE_STRING":
            _check_conversion(tensor["name"])


def _check_conversion(name: str) -> None:
    if not _converts():
        raise triton.TritonModelException(f"{name!r} holds text: with this Triton that needs numpy below 2")


@cache
def _converts() -> bool:
    """Whether the backend's own conversion understands this numpy."""
    if _numpy_1():
        return True
    probe = np.arange(1, 4, dtype=np.float32)
    return bool(np.array_equal(triton.Tensor.from_dlpack("probe", probe.__dlpack__()).as_numpy(), probe))


def _numpy_1() -> bool:
    return np.__version__.startswith("1.")
