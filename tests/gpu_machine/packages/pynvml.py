"""nvidia-ml-py on a machine with one A100 that draws 200 W."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

from stand_in_faults import strikes

NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
_STARTED = time.monotonic()


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


def nvmlInit() -> None: ...


def nvmlShutdown() -> None: ...


def nvmlSystemGetDriverVersion() -> str:
    return "580.65.06"


def nvmlDeviceGetCount() -> int:
    return 1


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    if index != 0:
        raise NVMLError("Invalid Argument")
    return index


def nvmlDeviceGetName(handle: int) -> str:
    return "NVIDIA A100-SXM4-80GB"


def nvmlDeviceGetUUID(handle: int) -> str:
    return "GPU-0a0a0a0a"


def nvmlDeviceGetCudaComputeCapability(handle: int) -> tuple[int, int]:
    return 8, 0


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:
    allocated = getattr(sys.modules.get("cuda.bindings.runtime"), "allocated", lambda: 0)  # of this process
    return SimpleNamespace(total=80 << 30, used=(1 << 30) + allocated())


def nvmlDeviceGetTotalEnergyConsumption(handle: int) -> int:
    if strikes("energy", "all"):
        raise NVMLError_NotSupported("Not Supported")
    return int(200_000 * (time.monotonic() - _STARTED))


def nvmlDeviceGetPowerUsage(handle: int) -> int:
    return 200_000


def nvmlDeviceGetClockInfo(handle: int, type: int) -> int:  # noqa: A002  # its own name
    return 1410


def nvmlDeviceGetTemperature(handle: int, sensor: int) -> int:
    return 40


def nvmlDeviceGetMigMode(device: int) -> list[int]:
    raise NVMLError_NotSupported("Not Supported")
