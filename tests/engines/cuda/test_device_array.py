"""Arrays of other libraries taken by address: ``__cuda_array_interface__`` and DLPack."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.cuda.device_array import DeviceArray, array_dtype, device_array, from_capsule, on_device
from engines.errors import EngineError


class Foreign:
    """An array of another library, with the interface CuPy and PyTorch offer."""

    def __init__(self, data: np.ndarray[Any, Any], stream: int | None = None) -> None:
        self.data, self.dtype, self.shape = data, "a dtype of its own", data.shape
        self.__cuda_array_interface__ = {
            "shape": data.shape,
            "typestr": data.dtype.str,
            "data": (data.ctypes.data, False),
            "strides": None if data.flags.c_contiguous else data.strides,
            "stream": stream,
            "version": 3,
        }


def contents(array: DeviceArray) -> np.ndarray[Any, Any]:
    block = (ctypes.c_uint8 * array.nbytes).from_address(array.address)
    return np.ctypeslib.as_array(block).view(array.dtype).reshape(array.shape)


def test_numpy_arrays_are_not_on_the_device() -> None:
    assert not on_device(np.zeros(3))
    assert on_device(Foreign(np.zeros(3)))


def test_a_foreign_array_is_read_where_it_is() -> None:
    data = np.arange(6, dtype=np.float16).reshape(2, 3)
    array = device_array(Foreign(data, stream=7), stream=1, where="input 'x'")
    assert (array.address, array.shape, array.stream) == (data.ctypes.data, (2, 3), 7)
    assert array_dtype(Foreign(data)) == np.float16


def test_a_strided_array_is_refused() -> None:
    with pytest.raises(EngineError, match="not C-contiguous") as caught:
        device_array(Foreign(np.zeros((3, 4)).T), stream=1, where="input 'x'")
    assert caught.value.where == "input 'x'"


def test_what_we_hand_out_can_be_taken_again() -> None:
    data = np.arange(4, dtype=np.int64)
    ours = DeviceArray(data.ctypes.data, (4,), data.dtype, data)
    interface = ours.__cuda_array_interface__
    assert interface["version"] == 3 and interface["data"] == (data.ctypes.data, False)
    np.testing.assert_array_equal(contents(device_array(Foreign(data), 0, "x")), data)


@given(
    dtype=st.sampled_from(["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool"]),
    shape=st.lists(st.integers(1, 4), max_size=4),
)
def test_dlpack_capsules_are_read_whatever_type_and_shape(dtype: str, shape: list[int]) -> None:
    data = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape).astype(dtype)
    array = from_capsule(data.__dlpack__(), "x")  # numpy's capsules have the layout of any other's
    assert array.dtype == data.dtype and array.shape == data.shape
    np.testing.assert_array_equal(contents(array), data)


def test_a_strided_dlpack_array_is_refused() -> None:
    with pytest.raises(EngineError, match="not C-contiguous"):
        from_capsule(np.zeros((4, 6))[:, ::2].__dlpack__(), "x")


def test_the_capsule_keeps_the_memory_alive() -> None:
    array = from_capsule(np.full(1000, 7.0).__dlpack__(), "x")  # the numpy array itself is gone
    for _ in range(10):
        np.zeros(1000)
    assert (contents(array) == 7.0).all()
