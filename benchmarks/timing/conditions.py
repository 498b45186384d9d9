"""The conditions of a measurement: which machine, how busy, how hot, at what clocks."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from engines.targets.nvml import Handle, Nvml, opened


@dataclass(frozen=True)
class GpuConditions:
    """Clocks in MHz, temperature in degrees Celsius, power in watts; None where the driver does not tell."""

    name: str
    sm_mhz: int | None
    memory_mhz: int | None
    temperature_c: int | None
    power_w: float | None


@dataclass(frozen=True)
class Conditions:
    """``load_average`` is the machine's of the last minute: above ``cores`` others compete for them.

    ``mhz`` is the mean current clock, ``temperature_c`` the hottest sensor; None where the system does not tell.
    """

    cpu: str
    cores: int
    load_average: float
    mhz: float | None
    temperature_c: float | None
    governor: str
    gpus: list[GpuConditions] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether the machine has a core to spare."""
        return self.load_average < self.cores


def read_conditions() -> Conditions:
    """The conditions now. Reads a few files of /proc and /sys, and NVML where there is a driver."""
    clocks = [float(value) for value in _cpuinfo("cpu MHz")]
    heat = [int(text) / 1000 for text in _read_all("/sys/class/thermal", "thermal_zone*/temp") if text.isdigit()]
    governors = set(_read_all("/sys/devices/system/cpu", "cpu[0-9]*/cpufreq/scaling_governor"))
    return Conditions(
        cpu=next(iter(_cpuinfo("model name")), platform.processor() or platform.machine()),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load_average=os.getloadavg()[0],
        mhz=sum(clocks) / len(clocks) if clocks else None,
        temperature_c=max(heat, default=None),
        governor=", ".join(sorted(governors)),
        gpus=_gpus(),
    )


def _cpuinfo(key: str) -> list[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(key)]


def _read_all(folder: str, pattern: str) -> list[str]:
    texts = []
    for path in Path(folder).glob(pattern):
        try:
            texts.append(path.read_text().strip())
        except OSError:  # some sensors exist and refuse to be read
            continue
    return texts


def _gpus() -> list[GpuConditions]:
    with opened() as nvml:
        return [_gpu(nvml, device) for device in nvml.devices()] if nvml is not None else []


def _gpu(nvml: Nvml, device: Handle) -> GpuConditions:
    return GpuConditions(
        name=nvml.name(device),
        sm_mhz=nvml.sm_mhz(device),
        memory_mhz=nvml.memory_mhz(device),
        temperature_c=nvml.temperature_c(device),
        power_w=nvml.watts(device),
    )
