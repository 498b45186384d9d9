from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.targets import cuda_driver
from engines.targets.gpus_here import Gpu, detect_gpus, native_target, target_of, used_gpu


class NvmlError(Exception):
    pass


def nvml(**functions) -> SimpleNamespace:
    return SimpleNamespace(NVMLError=NvmlError, nvmlShutdown=lambda: None, **functions)


@pytest.mark.parametrize(
    ("name", "capability", "target"),
    [
        ("Tesla T4", (7, 5), "t4"),
        ("NVIDIA A100-SXM4-80GB", (8, 0), "a100"),
        ("NVIDIA H100 80GB HBM3", (9, 0), "h100"),
        ("NVIDIA H200", (9, 0), "h200"),
        ("NVIDIA L40S", (8, 9), "l40s"),
        ("NVIDIA L40", (8, 9), "sm89"),
        ("NVIDIA L4", (8, 9), "l4"),
        ("NVIDIA GeForce RTX 3090", (8, 6), "rtx3090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", (8, 9), "sm89"),
        ("NVIDIA RTX A6000", (8, 6), "a6000"),
        ("NVIDIA A30", (8, 0), "a30"),
        ("Tesla V100-SXM2-16GB", (7, 0), "v100"),
        ("NVIDIA Jetson Xavier NX Developer Kit", (7, 2), "xavier_nx"),
        ("NVIDIA Jetson AGX Xavier", (7, 2), "xavier"),
        ("NVIDIA Jetson AGX Orin Developer Kit", (8, 7), "orin"),
        ("NVIDIA Jetson Orin Nano Developer Kit", (8, 7), "orin_nano"),
        ("Tesla P100-PCIE-16GB", (6, 0), "sm60"),
    ],
)
def test_target_of_a_gpu(name: str, capability: tuple[int, int], target: str) -> None:
    found = target_of(Gpu(0, name, capability, 1000, "580.1"))
    assert (found.name, found.compute_capability) == (target, capability)


def test_an_unlisted_gpu_can_what_its_generation_can() -> None:
    volta = target_of(Gpu(0, "Tesla V100-SXM2-16GB", (7, 0), 16384, "580.1"))
    assert not (volta.rtx or volta.sparse_tensor_cores)
    rtx3060 = target_of(Gpu(0, "NVIDIA GeForce RTX 3060", (8, 6), 12288, "580.1"))
    assert rtx3060.rtx
    assert rtx3060.title == "NVIDIA GeForce RTX 3060"


def test_no_driver_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NvmlError("NVML Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=fail))
    monkeypatch.setattr(cuda_driver, "_LIBRARY", "libno-such-driver.so.1")
    assert detect_gpus() == []
    assert native_target() is None


DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return %d; }
int cuDriverGetVersion(int *version) { *version = 11040; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = 7 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Xavier", size); return device != 7; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 7 : 2; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)8 << 30; return 0; }
"""


@pytest.mark.parametrize(
    ("fails", "board", "found"),
    [(0, "NVIDIA Jetson Xavier NX Developer Kit\0", "xavier_nx"), (0, "", "xavier"), (100, "", None)],
)
def test_a_jetson_has_no_nvml_and_is_found_by_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int, board: str, found: str | None
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for a driver of our own")
    (tmp_path / "cuda.c").write_text(DRIVER % fails)
    library = tmp_path / f"libcuda{fails}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "cuda.c")], check=True)
    (tmp_path / "model").write_text(board)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(cuda_driver, "_LIBRARY", str(library))
    monkeypatch.setattr(cuda_driver, "_DEVICE_TREE", tmp_path / "model")
    native = native_target(detect_gpus())
    assert (native.name if native else None) == found
    if native is not None:
        assert detect_gpus() == [Gpu(0, board.strip("\0") or "Xavier", (7, 2), 8192, "CUDA 11.4")]


def test_reads_gpus_from_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = nvml(
        nvmlInit=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "580.65",
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetCudaComputeCapability=lambda handle: (7, 5),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=16 << 30),
        nvmlDeviceGetName=lambda handle: b"Tesla T4",
        nvmlDeviceGetUUID=lambda handle: "GPU-7f",
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert detect_gpus() == [Gpu(0, "Tesla T4", (7, 5), 16384, "580.65", "GPU-7f")]
    target = native_target()
    assert target is not None
    assert target.name == "t4"


A10 = Gpu(0, "NVIDIA A10", (8, 6), 24000, "580.1", "GPU-aa01")
T4 = Gpu(1, "Tesla T4", (7, 5), 16384, "580.1", "GPU-bb02")


@pytest.mark.parametrize(
    ("visible", "used"),
    [
        (None, A10),
        ("0", A10),
        ("1,0", T4),
        ("GPU-bb", T4),
        ("MIG-5", A10),
        ("", None),
        ("-1", None),
        ("NoDevFiles", None),
    ],
)
def test_the_gpu_in_use_is_the_one_that_cuda_sees_first(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, used: Gpu | None
) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert used_gpu([A10, T4]) is used
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "CUDA counts as NVML does"
    native = native_target([A10, T4])
    assert (native.name if native else None) == {A10: "a10", T4: "t4", None: None}[used]
