"""The GPUs of a machine whose driver has no NVML (Jetson), asked of the CUDA driver itself."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`` and ``_MINOR`` of cuda.h."""
_NAME_BYTES = 256  # as in CUDA's cudaDeviceProp.name
_DEVICE_TREE = Path("/proc/device-tree/model")
"""Where Linux on ARM says what board it runs on: Jetson's driver names the chip only, ``"Xavier"`` for two
modules."""


@dataclass(frozen=True)
class CudaDevice:
    """``memory_bytes`` is what GPU and CPU share on a Jetson; ``driver`` is the CUDA version it knows (``"CUDA
    11.4"``)."""

    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    driver: str


def cuda_devices() -> list[CudaDevice]:
    """In CUDA's order; an empty list without a driver, or where it finds none."""
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    return [_device(cuda, index, driver) for index in range(count.value)]


def _device(cuda: ctypes.CDLL, index: int, driver: str) -> CudaDevice:
    handle, major, minor, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    cuda.cuDeviceGet(ctypes.byref(handle), index)
    cuda.cuDeviceGetName(name, _NAME_BYTES, handle)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, handle)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, handle)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return CudaDevice(_board() or name.value.decode(), (major.value, minor.value), memory.value, driver)


def _board() -> str:
    """``"NVIDIA Jetson Xavier NX Developer Kit"``; empty elsewhere."""
    try:
        said = _DEVICE_TREE.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
    return said if "jetson" in said.lower() else ""
