"""cuda-python's runtime bindings with host memory for device memory. Work happens when it is enqueued, or is recorded
while its stream is being captured; every call answers (error code, values …) as the real ones do.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

cudaStreamNonBlocking, cudaEventDefault, cudaHostAllocDefault = 1, 0, 0


class cudaError_t(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100


class cudaMemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaStreamCaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class Stream:
    """A ``cudaStream_t``; ``int()`` is its handle."""

    def __init__(self) -> None:
        self.recorded: list[Callable[[], None]] | None = None
        _streams[int(self)] = self

    def __int__(self) -> int:
        return id(self)


class Event:
    at = 0.0


_streams: dict[int, Stream] = {}
_memory: dict[int, Any] = {}
_OK = cudaError_t.cudaSuccess


def enqueue(stream: int | Stream, work: Callable[[], None]) -> None:
    """Do ``work`` now, or record it: what TensorRT's stand-in calls with a stream's handle."""
    recorded = _streams[int(stream)].recorded
    work() if recorded is None else recorded.append(work)


def allocated() -> int:
    return sum(len(buffer) for buffer in _memory.values())


def cudaGetErrorName(error: int) -> tuple[int, bytes]:
    return _OK, cudaError_t(error).name.encode()


def cudaGetErrorString(error: int) -> tuple[int, bytes]:
    return _OK, b"out of memory" if error == 2 else b"an error"


def cudaGetDeviceCount() -> tuple[int, int]:
    return _OK, 1


def cudaSetDevice(device: int) -> tuple[int]:
    return (_OK,)


def cudaGetDeviceProperties(device: int) -> tuple[int, SimpleNamespace]:
    return _OK, SimpleNamespace(name=b"NVIDIA A100-SXM4-80GB", major=8, minor=0, totalGlobalMem=80 << 30)


def cudaDeviceGetPCIBusId(length: int, device: int) -> tuple[int, bytes]:
    return _OK, b"0000:07:00.0"


def cudaDriverGetVersion() -> tuple[int, int]:
    return _OK, 13000


def cudaRuntimeGetVersion() -> tuple[int, int]:
    return _OK, 13000


def cudaMalloc(size: int) -> tuple[int, int]:
    buffer = ctypes.create_string_buffer(b"\xcd" * size, size)  # uninitialised memory is not zero
    _memory[ctypes.addressof(buffer)] = buffer
    return _OK, ctypes.addressof(buffer)


def cudaFree(devPtr: int) -> tuple[int]:
    del _memory[devPtr]
    return (_OK,)


def cudaHostAlloc(size: int, flags: int) -> tuple[int, int]:
    return cudaMalloc(size)


def cudaFreeHost(ptr: int) -> tuple[int]:
    return cudaFree(ptr)


def cudaMemcpyAsync(dst: int, src: int, count: int, kind: int, stream: Stream) -> tuple[int]:
    enqueue(stream, lambda: ctypes.memmove(dst, src, count) and None)
    return (_OK,)


def cudaStreamCreateWithFlags(flags: int) -> tuple[int, Stream]:
    return _OK, Stream()


def cudaStreamSynchronize(stream: Stream) -> tuple[int]:
    return (_OK,)


def cudaStreamWaitEvent(stream: Stream, event: Event, flags: int) -> tuple[int]:
    return (_OK,)


def cudaStreamDestroy(stream: Stream) -> tuple[int]:
    _streams.pop(int(stream), None)
    return (_OK,)


def cudaEventCreateWithFlags(flags: int) -> tuple[int, Event]:
    return _OK, Event()


def cudaEventRecord(event: Event, stream: Stream) -> tuple[int]:
    event.at = time.perf_counter()
    return (_OK,)


def cudaEventSynchronize(event: Event) -> tuple[int]:
    return (_OK,)


def cudaEventElapsedTime(start: Event, end: Event) -> tuple[int, float]:
    return _OK, 1e3 * (end.at - start.at)


def cudaEventDestroy(event: Event) -> tuple[int]:
    return (_OK,)


def cudaStreamBeginCapture(stream: Stream, mode: int) -> tuple[int]:
    stream.recorded = []
    return (_OK,)


def cudaStreamEndCapture(stream: Stream) -> tuple[int, list[Callable[[], None]]]:
    recorded, stream.recorded = stream.recorded or [], None
    return _OK, recorded


def cudaGraphInstantiate(graph: list[Callable[[], None]], flags: int) -> tuple[int, list[Callable[[], None]]]:
    return _OK, graph


def cudaGraphDestroy(graph: list[Callable[[], None]]) -> tuple[int]:
    return (_OK,)


def cudaGraphLaunch(graphExec: list[Callable[[], None]], stream: Stream) -> tuple[int]:
    for work in graphExec:
        enqueue(stream, work)
    return (_OK,)


def cudaGraphExecDestroy(graphExec: list[Callable[[], None]]) -> tuple[int]:
    return (_OK,)


def cudaDeviceSynchronize() -> tuple[int]:
    return (_OK,)
