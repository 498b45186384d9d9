"""What the cuda-python runtime asks of CUDA: directions, order, and what is undone when a step fails."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.cuda.cuda_python import CudaPythonRuntime
from engines.errors import EngineError


class Recorder(ModuleType):
    """``cuda.bindings.runtime`` that notes every call and answers success, or ``fails`` for one function."""

    CONSTANTS: Mapping[str, Any] = {
        "cudaStreamNonBlocking": 1,
        "cudaEventDefault": 0,
        "cudaHostAllocDefault": 0,
        "cudaMemcpyKind": SimpleNamespace(cudaMemcpyHostToDevice="H2D", cudaMemcpyDeviceToHost="D2H"),
        "cudaStreamCaptureMode": SimpleNamespace(cudaStreamCaptureModeThreadLocal="local"),
        "cudaError_t": SimpleNamespace(cudaErrorInsufficientDriver=35, cudaErrorNoDevice=100),
    }
    VALUES: Mapping[str, Any] = {
        "cudaGetDeviceCount": (1,),
        "cudaGetDeviceProperties": (
            SimpleNamespace(name=b"Tesla T4\0\0", major=7, minor=5, totalGlobalMem=15 << 30, multiProcessorCount=40),
        ),
        "cudaDeviceGetPCIBusId": (b"0000:3B:00.0\0",),
        "cudaStreamCreateWithFlags": (77,),
        "cudaEventCreateWithFlags": (88,),
        "cudaMalloc": (4096,),
        "cudaStreamEndCapture": ("graph",),
        "cudaGraphInstantiate": ("executable",),
        "cudaGetErrorName": (b"cudaErrorUnknown",),
        "cudaGetErrorString": (b"unknown error",),
    }

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.calls: list[tuple[Any, ...]] = []
        self.fails = ""

    def __getattr__(self, name: str) -> Any:
        if name in self.CONSTANTS:
            return self.CONSTANTS[name]
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            return (999 if name == self.fails else 0, *self.VALUES.get(name, ()))

        call.__name__ = name
        return call

    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", recorder)
    return recorder


@pytest.fixture
def runtime(cuda: Recorder) -> CudaPythonRuntime:
    opened = CudaPythonRuntime()
    cuda.calls.clear()
    return opened


def test_the_device_is_described(runtime: CudaPythonRuntime) -> None:
    device = runtime.device
    assert (device.name, device.compute_capability, device.pci_bus_id) == ("Tesla T4", (7, 5), "0000:3B:00.0")


def test_copies_go_the_right_way(runtime: CudaPythonRuntime, cuda: Recorder) -> None:
    stream, data = runtime.stream(), np.zeros(16, np.uint8)
    runtime.copy_to_device(4096, data, stream)
    runtime.copy_to_host(data, 4096, stream)
    assert cuda.calls[1:] == [
        ("cudaMemcpyAsync", 4096, data.ctypes.data, 16, "H2D", 77),
        ("cudaMemcpyAsync", data.ctypes.data, 4096, 16, "D2H", 77),
    ]


def test_elapsed_time_runs_from_the_first_event_to_the_second(runtime: CudaPythonRuntime, cuda: Recorder) -> None:
    cuda.VALUES = {**cuda.VALUES, "cudaEventElapsedTime": (1.5,)}
    first, second = runtime.event(), runtime.event()
    first.native, second.native = "first", "second"
    assert second.elapsed_ms(first) == 1.5
    assert cuda.calls[-1] == ("cudaEventElapsedTime", "first", "second")


def test_a_capture_ends_and_its_graph_is_freed(runtime: CudaPythonRuntime, cuda: Recorder) -> None:
    stream = runtime.stream()
    graph = runtime.capture(stream, lambda: None)
    graph.launch(stream)
    assert cuda.calls[1:] == [
        ("cudaStreamBeginCapture", 77, "local"),
        ("cudaStreamEndCapture", 77),
        ("cudaGraphInstantiate", "graph", 0),
        ("cudaGraphDestroy", "graph"),
        ("cudaGraphLaunch", "executable", 77),
    ]


def test_a_capture_that_fails_leaves_capture_mode(runtime: CudaPythonRuntime, cuda: Recorder) -> None:
    def enqueue() -> None:
        raise EngineError("TensorRT did not start the run")

    with pytest.raises(EngineError, match="did not start"):
        runtime.capture(runtime.stream(), enqueue)
    assert cuda.names()[-1] == "cudaStreamEndCapture"
    cuda.fails = "cudaGraphInstantiate"
    with pytest.raises(EngineError, match="cudaGraphInstantiate failed with cudaErrorUnknown"):
        runtime.capture(runtime.stream(), lambda: None)
    assert "cudaGraphDestroy" in cuda.names()


@pytest.mark.parametrize(("make", "frees"), [("stream", "cudaStreamDestroy"), ("event", "cudaEventDestroy")])
def test_what_is_closed_twice_is_freed_once(runtime: CudaPythonRuntime, cuda: Recorder, make: str, frees: str) -> None:
    thing = getattr(runtime, make)()
    thing.close()
    thing.close()
    memory = runtime.allocate(16)
    memory.close()
    memory.close()
    assert cuda.names().count(frees) == 1 and cuda.names().count("cudaFree") == 1
