"""NVML, NVIDIA's management library: opened here and nowhere else, every call of ours in one class.

nvidia-ml-py is pure Python and harmless without a driver. NVML counts its openings, so one may be open inside another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Handle: TypeAlias = Any
"""A device (a GPU or a MIG instance) as NVML hands it out."""


class NoNvml(Exception):
    """NVML, or one device, cannot be asked; the text says why."""


@dataclass(frozen=True)
class MigInstance:
    """A MIG instance: its UUID, name (``"NVIDIA A100-SXM4-80GB MIG 1g.10gb"``), memory, and the GPU it is part of."""

    uuid: str
    name: str
    memory_mb: int
    gpu: int


class Nvml:
    """An open NVML. Raises ``NoNvml`` where the package or the driver is missing; close it."""

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError:
            raise NoNvml("nvidia-ml-py is not installed") from None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:  # no driver, or no device it can talk to
            raise NoNvml(f"NVML: {error}") from None
        self._nvml: Any = pynvml

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def driver(self) -> str:
        """The driver's version, ``"580.65"``."""
        return _text(self._nvml.nvmlSystemGetDriverVersion())

    def devices(self) -> list[Handle]:
        """Every GPU, by index: the order of the bus."""
        return [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(self._nvml.nvmlDeviceGetCount())]

    def device(self, index: int) -> Handle:
        """Raises ``NoNvml`` where there is none of this index."""
        try:
            return self._nvml.nvmlDeviceGetHandleByIndex(index)
        except self._nvml.NVMLError as error:
            raise NoNvml(f"NVML: {error}") from None

    def name(self, device: Handle) -> str:
        return _text(self._nvml.nvmlDeviceGetName(device))

    def uuid(self, device: Handle) -> str:
        """``"GPU-…"`` or ``"MIG-…"``; empty where the driver does not tell."""
        return _text(self._asked(lambda: self._nvml.nvmlDeviceGetUUID(device)) or "")

    def compute_capability(self, device: Handle) -> tuple[int, int]:
        major, minor = self._nvml.nvmlDeviceGetCudaComputeCapability(device)
        return int(major), int(minor)

    def memory_bytes(self, device: Handle) -> int:
        """All the memory of a device."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(device).total)

    def used_bytes(self, device: Handle) -> int:
        """Memory in use now, by whomever."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(device).used)

    def joules(self, device: Handle) -> float:
        """What the board has used since the driver was loaded (Volta and later). Raises ``NoNvml``."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(device)) / 1e3
        except self._nvml.NVMLError as error:
            raise NoNvml(f"NVML: {error}") from None

    def watts(self, device: Handle) -> float | None:
        """What the board draws now; None where the driver does not tell, here and below."""
        milliwatts = self._asked(lambda: self._nvml.nvmlDeviceGetPowerUsage(device))
        return milliwatts / 1000 if milliwatts is not None else None

    def sm_mhz(self, device: Handle) -> int | None:
        return self._asked(lambda: int(self._nvml.nvmlDeviceGetClockInfo(device, self._nvml.NVML_CLOCK_SM)))

    def memory_mhz(self, device: Handle) -> int | None:
        return self._asked(lambda: int(self._nvml.nvmlDeviceGetClockInfo(device, self._nvml.NVML_CLOCK_MEM)))

    def temperature_c(self, device: Handle) -> int | None:
        return self._asked(lambda: int(self._nvml.nvmlDeviceGetTemperature(device, self._nvml.NVML_TEMPERATURE_GPU)))

    def mig_instances(self) -> list[MigInstance]:
        """Every MIG instance of every GPU that is partitioned."""
        return [found for gpu, device in enumerate(self.devices()) for found in self._instances(gpu, device)]

    def _instances(self, gpu: int, device: Handle) -> Iterator[MigInstance]:
        mode = self._asked(lambda: self._nvml.nvmlDeviceGetMigMode(device))  # a GPU without MIG refuses the question
        slots = self._nvml.nvmlDeviceGetMaxMigDeviceCount(device) if mode and mode[0] else 0
        for slot in range(slots):
            instance = self._mig_device(device, slot)
            if instance is not None:
                memory = self.memory_bytes(instance) >> 20
                yield MigInstance(self.uuid(instance), self.name(instance), memory, gpu)

    def _mig_device(self, device: Handle, slot: int) -> Handle | None:
        """The instance in a slot; None for an empty one."""
        return self._asked(lambda: self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, slot))

    def _asked(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except self._nvml.NVMLError:
            return None


@contextmanager
def opened() -> Iterator[Nvml | None]:
    """NVML while the context is open; None where there is none."""
    try:
        nvml = Nvml()
    except NoNvml:
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.close()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
