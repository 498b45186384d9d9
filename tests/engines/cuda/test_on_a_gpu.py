"""The GPU engine and both CUDA runtimes on a real GPU: real streams, events, pinned memory, graphs and kernels.

Only TensorRT is a stand-in, its context launching a kernel that computes ``y = 2 * x + 1``. Skipped without a GPU.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import pieces
from engines.cuda.device_array import DeviceArray
from engines.cuda.open import open_runtime
from engines.cuda.runtime import RUNTIME_NAMES, CudaRuntime
from engines.errors import EngineError
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from studies.gpu_check.runtimes import check_runtimes
from tests.engines.cuda.fake_tensorrt import FakeContext, FakeEngine, fake_library

SOURCE = b"""extern "C" __global__ void twice(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 2 * x[i] + 1;
}"""
PROFILE = [((1, 3), (4, 3), (4096, 3))]


def _usable(name: str) -> bool:
    try:
        open_runtime(name).close()
    except EngineError:
        return False
    return True


@pytest.fixture(params=RUNTIME_NAMES)
def runtime(request: pytest.FixtureRequest) -> Iterator[CudaRuntime]:
    if not _usable(request.param):
        pytest.skip(f"no GPU here, or {request.param} is not installed")
    opened = open_runtime(request.param)
    yield opened
    opened.close()


class KernelPlan(FakeEngine):
    """``ICudaEngine`` whose context launches ``SOURCE`` on the stream it is given."""

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime, PROFILE)
        from cuda.bindings import driver, nvrtc

        self._driver = driver
        program = self._value(nvrtc.nvrtcCreateProgram(SOURCE, b"twice.cu", 0, [], []))
        major, minor = runtime.device.compute_capability
        self._value(nvrtc.nvrtcCompileProgram(program, 1, [f"--gpu-architecture=sm_{major}{minor}".encode()]))
        image = bytes(self._value(nvrtc.nvrtcGetCUBINSize(program)))
        self._value(nvrtc.nvrtcGetCUBIN(program, image))
        self._module = self._value(driver.cuModuleLoadData(image))
        self._kernel = self._value(driver.cuModuleGetFunction(self._module, b"twice"))

    @staticmethod
    def _value(returned: tuple[Any, ...]) -> Any:
        code, *values = returned
        assert int(code) == 0, code
        return values[0] if values else None

    def enqueue(self, context: FakeContext, stream_handle: int) -> None:
        assert context.shape is not None
        count = math.prod(context.shape)
        arguments = ((context.addresses["x"], context.addresses["y"], count), (ctypes.c_void_p,) * 2 + (ctypes.c_int,))
        launch = self._driver.cuLaunchKernel
        self._value(launch(self._kernel, -(-count // 256), 1, 1, 256, 1, 1, 0, stream_handle, arguments, 0))


def engine_on(runtime: CudaRuntime, folder: Path, **settings: Any) -> TensorRtEngine:
    return TensorRtEngine(KernelPlan(runtime), fake_library(), runtime, GpuSettings(**settings), folder / "engine.plan")


def batch(rows: int, start: float = 0.0) -> np.ndarray[Any, Any]:
    return np.arange(start, start + rows * 3, dtype=np.float32).reshape(rows, 3)


@pytest.mark.parametrize("graphs", [True, False])
def test_it_computes_whatever_the_shape(runtime: CudaRuntime, tmp_path: Path, graphs: bool) -> None:
    with engine_on(runtime, tmp_path, graphs=graphs) as engine:
        for rows in (1, 5, 4096, 5, 1, 5, 5):
            np.testing.assert_array_equal(engine.infer({"x": batch(rows)})["y"], 2 * batch(rows) + 1)


@pytest.mark.parametrize("graphs", [True, False])
def test_batches_in_flight_stay_apart(runtime: CudaRuntime, tmp_path: Path, graphs: bool) -> None:
    with engine_on(runtime, tmp_path, slots=3, graphs=graphs) as engine:
        for round_ in range(30):
            starts = [round_ * 100.0 + 10 * n for n in range(3)]
            flights = [engine.submit({"x": batch(1000 + round_ % 3, start)}) for start in starts]
            for start, flight in reversed(list(zip(starts, flights, strict=True))):
                expected = 2 * batch(1000 + round_ % 3, start) + 1
                np.testing.assert_array_equal(engine.collect(flight)["y"], expected)


def test_large_inputs_go_in_by_parts(runtime: CudaRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE_BYTES", 8192)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 4096)
    monkeypatch.setattr(pieces, "available_cores", lambda: 4)
    with engine_on(runtime, tmp_path, slots=2) as engine:
        for round_ in range(30):
            feeds = [batch(4096, round_ * 100.0), batch(4000 + round_, round_ * 10.0)[::-1]]
            flights = [engine.submit({"x": feed}) for feed in feeds]
            for feed, flight in zip(feeds, flights, strict=True):
                np.testing.assert_array_equal(engine.collect(flight)["y"], 2 * feed + 1)


def test_events_time_the_copies_and_the_kernel(runtime: CudaRuntime, tmp_path: Path) -> None:
    with engine_on(runtime, tmp_path) as engine:
        for _ in range(3):
            flight = engine.submit({"x": batch(4096)})
            engine.collect(flight)
        assert flight.times is not None
        assert 0 < flight.times.compute_ms < flight.times.total_ms < 1000


def test_device_arrays_go_in_and_out_without_a_copy(runtime: CudaRuntime, tmp_path: Path) -> None:
    data, memory, pinned, stream = batch(64, 7), runtime.allocate(768), runtime.pin(768), runtime.stream()
    pinned.array[:] = data.view(np.uint8).ravel()
    runtime.copy_to_device(memory.address, pinned.array, stream)
    given = DeviceArray(memory.address, data.shape, data.dtype, memory, stream=stream.handle)
    with engine_on(runtime, tmp_path) as engine:
        with engine.infer_on_device({"x": given}) as outputs:
            runtime.synchronise()
            runtime.copy_to_host(pinned.array, outputs["y"].address, stream)
            stream.synchronise()
        np.testing.assert_array_equal(pinned.array.view(np.float32).reshape(64, 3), 2 * data + 1)
    for thing in (memory, pinned, stream):
        thing.close()


def test_what_the_device_refuses_has_cudas_name(runtime: CudaRuntime) -> None:
    with pytest.raises(EngineError, match=r"(?i)memory"):
        runtime.allocate(1 << 50)


def test_the_check_of_runtimes_finds_what_is_here() -> None:
    found = {result.name: result for result in check_runtimes()}
    assert set(found) == set(RUNTIME_NAMES)
    for name, result in found.items():
        assert bool(result.failure) != _usable(name), result.failure
        if not result.failure:
            assert min(result.to_device_gb_s, result.to_host_gb_s, result.on_device_gb_s) > 0.1
            assert (result.graph_us is None) == (name == "pycuda")
