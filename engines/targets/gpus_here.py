"""The NVIDIA GPUs of this machine, through NVML or the CUDA driver; none without a driver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from engines.targets.boards import words_of
from engines.targets.cuda_driver import cuda_devices
from engines.targets.nvml import opened
from engines.targets.target import NATIVE, TARGETS, Target, gpu_target, resolve_targets

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """``compute_capability`` is (major, minor), ``memory_mb`` MiB of device memory, ``uuid`` the driver's."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_mb: int
    driver: str
    uuid: str = ""


def detect_gpus() -> list[Gpu]:
    """Every GPU that NVML sees, in the order of the bus, or where there is no NVML (Jetson) those that CUDA sees; an
    empty list without a driver."""
    with opened() as nvml:
        if nvml is None:
            return _without_nvml()
        return [
            Gpu(
                index,
                nvml.name(device),
                nvml.compute_capability(device),
                nvml.memory_bytes(device) >> 20,
                nvml.driver(),
                nvml.uuid(device),
            )
            for index, device in enumerate(nvml.devices())
        ]


def _without_nvml() -> list[Gpu]:
    return [
        Gpu(index, device.name, device.compute_capability, device.memory_bytes >> 20, device.driver)
        for index, device in enumerate(cuda_devices())
    ]


def used_gpu(gpus: Sequence[Gpu] | None = None) -> Gpu | None:
    """The GPU that CUDA's device 0 is, on which everything of ours runs; None where CUDA sees none.

    CUDA orders devices by speed and NVML by bus, so CUDA is told to use the order of the bus, in this process and its
    children. ``CUDA_VISIBLE_DEVICES`` names GPUs by index or by (the beginning of) their UUID; an empty one hides all.
    """
    found = detect_gpus() if gpus is None else gpus
    if not found:
        return None
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return found[0]
    first = visible.split(",")[0].strip()
    if first.startswith("MIG-"):  # an instance of a GPU that is partitioned; all have its compute capability
        return found[0]
    by_uuid = first.startswith("GPU-")
    named = [gpu for gpu in found if (gpu.uuid.startswith(first) if by_uuid else first == str(gpu.index))]
    return named[0] if named else None


def native_target(gpus: Sequence[Gpu] | None = None) -> Target | None:
    """The target that the GPU in use is (``used_gpu``); None without one."""
    gpu = used_gpu(gpus)
    return target_of(gpu) if gpu is not None else None


def targets_named(names: Sequence[str]) -> list[Target]:
    """The targets of ``names`` in order, each once; ``native`` is the GPU in use. Raises ``BadInput`` as
    ``resolve_targets`` does."""
    return resolve_targets(names, native_target())


def name_of_target(name: str) -> str:
    """``name``, and for ``native`` that of the GPU in use. Raises ``BadInput`` where there is none."""
    return targets_named([name])[0].name if name == NATIVE else name


def target_of(gpu: Gpu) -> Target:
    """The known target whose name is one word of the GPU's or two (``"Tesla T4"`` is ``t4``, ``"RTX 4090"``
    ``rtx4090``, ``"Jetson Xavier NX"`` ``xavier_nx``), else one of its own (``sm86``)."""
    words, capability = words_of(gpu.name), gpu.compute_capability
    alike = (target for target in TARGETS.values() if target.compute_capability == capability)
    named = [target for target in alike if target.name.replace("_", "") in words]
    unlisted = gpu_target("sm{}{}".format(*capability), gpu.name, capability)
    return max(named, key=lambda target: len(target.name), default=unlisted)
