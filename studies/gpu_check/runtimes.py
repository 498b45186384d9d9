"""The CUDA runtimes under the engines, checked without an engine: copies, events, graphs, shared arrays."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from engines.cuda.device_array import DeviceArray, device_array
from engines.cuda.open import open_runtime
from engines.cuda.runtime import RUNTIME_NAMES, CudaRuntime, RuntimeName, Stream
from engines.errors import EngineError
from graphs.errors import in_a_line

BLOCK = 64 << 20
"""Bytes of one copy."""
ROUNDS = 10  # in turns, so that both see the same clocks
CAPTURED = 16
"""Small copies in one graph."""
LIBRARIES = ("torch", "cupy")
"""Whose device arrays are taken and given without a copy, where they are installed."""


@dataclass
class RuntimeResult:
    """One runtime on CUDA device 0. ``failure`` is empty, or where it stopped; gigabytes are 10⁹ bytes.

    ``graph_us`` and ``calls_us`` are the host microseconds of ``CAPTURED`` small copies as one graph and one by one;
    None where the runtime has no graphs. ``shared`` are the libraries whose arrays went in and out without a copy.
    """

    name: RuntimeName
    failure: str = ""
    device: str = ""
    driver: str = ""
    to_device_gb_s: float = 0.0
    to_host_gb_s: float = 0.0
    on_device_gb_s: float = 0.0
    graph_us: float | None = None
    calls_us: float = 0.0
    shared: list[str] = field(default_factory=list)


def check_runtimes() -> list[RuntimeResult]:
    """Every runtime that opens here, cuda-python first; one that breaks says why and costs the others nothing."""
    results = []
    for name in RUNTIME_NAMES:
        result = RuntimeResult(name)
        try:
            _check(result)
        except Exception as error:  # a library that breaks must not cost what the others measure
            result.failure = in_a_line(error)
        results.append(result)
    return results


def _check(result: RuntimeResult) -> None:
    runtime = open_runtime(result.name)
    result.device, result.driver = runtime.device.name, runtime.driver_version()
    with ExitStack() as stack:
        stack.callback(runtime.close)
        stream = _kept(stack, runtime.stream())
        _copies(result, runtime, stream, stack)
        result.calls_us, result.graph_us = _launches(runtime, stream, stack)
        result.shared = list(_shared(runtime, stream, stack))


def _kept(stack: ExitStack, thing: Any) -> Any:
    stack.callback(thing.close)
    return thing


def _copies(result: RuntimeResult, runtime: CudaRuntime, stream: Stream, stack: ExitStack) -> None:
    """Bandwidths, between events; the bytes that went to the device, across it and back must be the same ones."""
    source, back = (_kept(stack, runtime.pin(BLOCK)) for _ in range(2))
    first, second = (_kept(stack, runtime.allocate(BLOCK)) for _ in range(2))
    source.array[:] = np.random.default_rng(0).integers(0, 256, BLOCK, np.uint8)
    back.array[:] = 0
    timed = _Timer(runtime, stream, stack)
    result.to_device_gb_s = timed(lambda: runtime.copy_to_device(first.address, source.array, stream), BLOCK)
    result.on_device_gb_s = timed(  # bytes read and written
        lambda: runtime.copy_on_device(second.address, first.address, BLOCK, stream), 2 * BLOCK
    )
    result.to_host_gb_s = timed(lambda: runtime.copy_to_host(back.array, second.address, stream), BLOCK)
    if not np.array_equal(source.array, back.array):
        raise EngineError("bytes changed on their way to the device and back", where=f"CUDA runtime {runtime.name}")


class _Timer:
    """Median gigabytes per second of a copy, between two events."""

    def __init__(self, runtime: CudaRuntime, stream: Stream, stack: ExitStack) -> None:
        self._stream = stream
        self._start, self._end = (_kept(stack, runtime.event()) for _ in range(2))

    def __call__(self, copy: Callable[[], None], nbytes: int) -> float:
        times = []
        for _ in range(ROUNDS):
            self._start.record(self._stream)
            copy()
            self._end.record(self._stream)
            self._end.synchronise()
            times.append(self._end.elapsed_ms(self._start))
        return float(nbytes / median(times) / 1e6)


def _launches(runtime: CudaRuntime, stream: Stream, stack: ExitStack) -> tuple[float, float | None]:
    """Host microseconds of small copies one by one, and as a graph."""
    memory = _kept(stack, runtime.allocate(2 * CAPTURED * 256))

    def enqueue() -> None:
        for source in range(memory.address, memory.address + memory.nbytes, 512):
            runtime.copy_on_device(source + 256, source, 256, stream)

    calls = _host_us(enqueue, stream)
    if not runtime.supports_graphs:
        return calls, None
    graph = _kept(stack, runtime.capture(stream, enqueue))
    return calls, _host_us(lambda: graph.launch(stream), stream)


def _host_us(enqueue: Callable[[], None], stream: Stream) -> float:
    times = []
    for _ in range(5 * ROUNDS):
        start = time.perf_counter()
        enqueue()
        stream.synchronise()
        times.append(time.perf_counter() - start)
    return 1e6 * median(times)


def _shared(runtime: CudaRuntime, stream: Stream, stack: ExitStack) -> Iterator[str]:
    """Installed array libraries; each one's array is read at its own address, and reads ours at ours."""
    values = np.arange(1024, dtype=np.float32)
    ours = _kept(stack, runtime.allocate(values.nbytes))
    pinned = _kept(stack, runtime.pin(values.nbytes))
    pinned.array[:] = values.view(np.uint8)
    runtime.copy_to_device(ours.address, pinned.array, stream)
    stream.synchronise()
    for name in LIBRARIES:
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        array = DeviceArray(ours.address, values.shape, values.dtype, ours)
        taken = library.as_tensor(array, device="cuda") if name == "torch" else library.asarray(array)
        found = np.asarray(taken.cpu().numpy() if name == "torch" else library.asnumpy(taken))
        given = device_array(taken, stream.handle, name)
        if not np.array_equal(found, values) or given.address != ours.address:
            raise EngineError("an array was copied or changed on its way", where=name)
        yield name
