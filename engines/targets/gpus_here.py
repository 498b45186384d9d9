"""The NVIDIA GPUs of this machine, through NVML; none without a driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from engines.targets.target import TARGETS, Backend, Target


@dataclass(frozen=True)
class Gpu:
    """``compute_capability`` is (major, minor), ``memory_mb`` MiB of device memory."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_mb: int
    driver: str


def detect_gpus() -> list[Gpu]:
    """Every GPU that NVML sees; an empty list without a driver."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, or no device it can talk to
        return []
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        return [_gpu(pynvml, index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total) >> 20
    return Gpu(index, _text(nvml.nvmlDeviceGetName(handle)), (int(major), int(minor)), memory, driver)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def native_target(gpus: Sequence[Gpu] | None = None) -> Target | None:
    """The target that this machine's first GPU is; None without one."""
    found = detect_gpus() if gpus is None else gpus
    return target_of(found[0]) if found else None


def target_of(gpu: Gpu) -> Target:
    """The known target whose name is one word of the GPU's or two (``"Tesla T4"`` is ``t4``, ``"RTX 4090"``
    ``rtx4090``), else one of its own (``sm86``)."""
    words = gpu.name.replace("-", " ").lower().split()
    words += [first + second for first, second in pairwise(words)] if "laptop" not in words else []
    alike = [target for target in TARGETS.values() if target.compute_capability == gpu.compute_capability]
    for target in alike:
        if target.name in words:
            return target
    name = "sm{}{}".format(*gpu.compute_capability)
    if alike:
        return replace(alike[0], name=name, title=gpu.name)
    return _unknown_target(name, gpu)


def _unknown_target(name: str, gpu: Gpu) -> Target:
    capability = gpu.compute_capability
    return Target(
        name,
        gpu.name,
        Backend.TENSORRT,
        capability,
        rtx=capability == (12, 1),  # the one GPU of TensorRT-RTX that is no named target
        float32_gemm=capability >= (8, 0),
        bfloat16=capability >= (8, 0),
        float8=capability >= (8, 9),
        sparse_tensor_cores=capability >= (8, 0),
    )
