"""Opening a CUDA runtime: every thing that can be missing is told apart, and every failing call has CUDA's name."""

from __future__ import annotations

import sys
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engines.cuda import cuda_python
from engines.cuda.open import open_runtime
from engines.errors import EngineError
from engines.targets.gpus_here import detect_gpus
from graphs.errors import BadInput

Code: Any = IntEnum(
    "Code",
    {
        "cudaSuccess": 0,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorNoDevice": 100,
        "cudaErrorSystemNotReady": 802,
    },
)


def bindings(code: Any = Code.cudaSuccess, count: int = 1, driver: int = 13000) -> Any:
    """``cuda.bindings.runtime`` as far as opening it goes."""
    return SimpleNamespace(
        cudaError_t=Code,
        cudaGetDeviceCount=lambda: (code, count),
        cudaDriverGetVersion=lambda: (Code.cudaSuccess, driver),
        cudaRuntimeGetVersion=lambda: (Code.cudaSuccess, 13040),
        cudaGetErrorName=lambda error: (Code.cudaSuccess, Code(error).name.encode()),
        cudaGetErrorString=lambda error: (Code.cudaSuccess, b"in words"),
    )


@pytest.mark.parametrize(
    ("there", "index", "message"),
    [
        (bindings(Code.cudaErrorInsufficientDriver, driver=0), 0, "no NVIDIA driver was found"),
        (bindings(Code.cudaErrorInsufficientDriver, driver=12040), 0, "driver supports CUDA 12.4, .* for CUDA 13.4"),
        (bindings(Code.cudaErrorNoDevice), 0, "the NVIDIA driver sees no GPU"),
        (bindings(count=0), 0, "the NVIDIA driver sees no GPU"),
        (bindings(count=2), 2, "there is no GPU 2"),
        (bindings(Code.cudaErrorSystemNotReady), 0, "cudaGetDeviceCount failed with cudaErrorSystemNotReady: in words"),
    ],
)
def test_what_is_missing_is_told_apart(there: Any, index: int, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        cuda_python._require_device(cuda_python.Calls(there), index)
    assert caught.value.fix or caught.value.expected or "SystemNotReady" in message


def test_a_failing_call_is_named() -> None:
    def cudaMalloc(size: int) -> tuple[Any, None]:
        return Code.cudaErrorMemoryAllocation, None

    with pytest.raises(EngineError, match="cudaMalloc failed with cudaErrorMemoryAllocation: in words"):
        cuda_python.Calls(bindings())(cudaMalloc, 1 << 60)


@pytest.mark.parametrize(("values", "result"), [((), None), ((5,), 5), ((5, 6), (5, 6)), ((0,), 0)])
def test_calls_return_what_follows_the_code(values: tuple[int, ...], result: Any) -> None:
    assert cuda_python.Calls(bindings())(lambda: (Code.cudaSuccess, *values)) == result


@pytest.mark.parametrize(("name", "module"), [("cuda-python", "cuda.bindings.runtime"), ("pycuda", "pycuda.driver")])
def test_a_package_that_is_not_installed_says_how_to_get_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=f"{name} is not installed") as caught:
        open_runtime(name)
    assert "pip install" in caught.value.fix


def test_an_unknown_runtime_is_bad_input() -> None:
    with pytest.raises(BadInput, match="unknown CUDA runtime 'opencl'"):
        open_runtime("opencl")


@pytest.mark.skipif(bool(detect_gpus()), reason="there is a GPU here")
def test_without_a_gpu_the_real_package_says_so() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(EngineError, match=r"no NVIDIA driver was found|sees no GPU|driver supports CUDA"):
        open_runtime("cuda-python")


class FakePyCuda(ModuleType):
    """``pycuda.driver`` on a machine whose driver works, or not."""

    class Error(Exception):
        pass

    def __init__(self, problem: str = "", count: int = 1) -> None:
        super().__init__("pycuda.driver")
        self.problem, self.pushed, self.popped = problem, 0, 0
        context = SimpleNamespace(push=self._push)
        self.Context = SimpleNamespace(pop=self._pop, synchronize=lambda: None)
        self.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT=16)
        device = SimpleNamespace(
            retain_primary_context=lambda: context,
            compute_capability=lambda: (7, 5),
            name=lambda: "Tesla T4",
            total_memory=lambda: 15 << 30,
            get_attribute=lambda _: 40,
            pci_bus_id=lambda: "0000:3B:00.0",
        )
        self.Device = _Devices(device, count)

    def init(self) -> None:
        if self.problem:
            raise self.Error(self.problem)

    def _push(self) -> None:
        self.pushed += 1

    def _pop(self) -> None:
        self.popped += 1

    def mem_alloc(self, nbytes: int) -> None:
        raise self.Error("cuMemAlloc failed: out of memory")


class _Devices:
    def __init__(self, device: Any, count: int) -> None:
        self._device, self._count = device, count

    def count(self) -> int:
        return self._count

    def __call__(self, index: int) -> Any:
        return self._device


def test_pycuda_uses_the_primary_context_and_has_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakePyCuda()
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    runtime = open_runtime("pycuda")
    runtime.activate()
    assert (runtime.device.name, runtime.device.compute_capability, driver.pushed) == ("Tesla T4", (7, 5), 1)
    assert not runtime.supports_graphs
    with pytest.raises(EngineError, match="pycuda has no CUDA graphs"):
        runtime.capture(None, lambda: None)  # type: ignore[arg-type]  # it raises before it looks
    with pytest.raises(EngineError, match="cuMemAlloc failed: out of memory"):
        runtime.allocate(1 << 60)
    runtime.close()
    assert driver.popped == 1


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (FakePyCuda("cuInit failed: no CUDA-capable device is detected"), "sees no GPU"),
        (FakePyCuda("cuInit failed: system not yet initialized"), "system not yet initialized"),
        (FakePyCuda(count=0), "sees no GPU"),
    ],
)
def test_pycuda_without_a_gpu(driver: FakePyCuda, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    with pytest.raises(EngineError, match=message):
        open_runtime("pycuda")
