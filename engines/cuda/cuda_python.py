"""The CUDA runtime on NVIDIA's cuda-python (``cuda.bindings.runtime``): streams, pinned memory, events, CUDA graphs."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from engines.cuda.missing import (
    driver_missing,
    driver_too_old,
    no_device,
    no_such_device,
    package_missing,
)
from engines.cuda.runtime import Bytes, DeviceProperties, Event, RuntimeName, Stream
from engines.errors import EngineError

PACKAGE = "cuda-python"
INSTALL = "pip install 'enginewright[tensorrt]' (or: pip install cuda-python)"
_PCI_BUS_ID_LENGTH = 32  # "0000:00:00.0" and room: the CUDA reference asks for at least 13


class Calls:
    """Calls CUDA and turns its error codes into ``EngineError`` with CUDA's name for them."""

    def __init__(self, bindings: Any) -> None:
        self.bindings = bindings

    def __call__(self, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
        """The values ``function`` returns after its error code: None, one value or a tuple."""
        code, *values = function(*arguments)
        if int(code) != 0:
            raise self.error(getattr(function, "__name__", str(function)), code)
        return values[0] if len(values) == 1 else tuple(values) or None

    def error(self, call: str, code: Any) -> EngineError:
        name, text = (
            self._text(get, code) for get in (self.bindings.cudaGetErrorName, self.bindings.cudaGetErrorString)
        )
        return EngineError(f"{call} failed with {name}: {text}", where=f"CUDA runtime {PACKAGE}")

    @staticmethod
    def _text(function: Callable[[Any], tuple[Any, Any]], code: Any) -> str:
        _, text = function(code)
        return text.decode() if isinstance(text, bytes) else str(text)


class _Stream:
    def __init__(self, call: Calls) -> None:
        rt = call.bindings
        self._call = call
        self.native: Any = call(rt.cudaStreamCreateWithFlags, rt.cudaStreamNonBlocking)

    @property
    def handle(self) -> int:
        return int(self.native)

    def synchronise(self) -> None:
        self._call(self._call.bindings.cudaStreamSynchronize, self.native)

    def wait(self, event: Event) -> None:
        self._call(self._call.bindings.cudaStreamWaitEvent, self.native, event.native, 0)

    def close(self) -> None:
        stream, self.native = self.native, None
        if stream is not None:
            self._call(self._call.bindings.cudaStreamDestroy, stream)


class _Event:
    def __init__(self, call: Calls) -> None:
        rt = call.bindings
        self._call = call
        self.native: Any = call(rt.cudaEventCreateWithFlags, rt.cudaEventDefault)

    def record(self, stream: Stream) -> None:
        self._call(self._call.bindings.cudaEventRecord, self.native, stream.native)

    def synchronise(self) -> None:
        self._call(self._call.bindings.cudaEventSynchronize, self.native)

    def elapsed_ms(self, since: Event) -> float:
        return float(self._call(self._call.bindings.cudaEventElapsedTime, since.native, self.native))

    def close(self) -> None:
        event, self.native = self.native, None
        if event is not None:
            self._call(self._call.bindings.cudaEventDestroy, event)


class _DeviceMemory:
    def __init__(self, call: Calls, nbytes: int) -> None:
        self._call, self.nbytes = call, nbytes
        self.address = int(call(call.bindings.cudaMalloc, max(1, nbytes)))

    def close(self) -> None:
        address, self.address = self.address, 0
        if address:
            self._call(self._call.bindings.cudaFree, address)


class _PinnedMemory:
    def __init__(self, call: Calls, nbytes: int) -> None:
        rt = call.bindings
        self._call = call
        self.address = int(call(rt.cudaHostAlloc, max(1, nbytes), rt.cudaHostAllocDefault))
        block = (ctypes.c_uint8 * nbytes).from_address(self.address)
        self.array: Bytes = np.ctypeslib.as_array(block)

    def close(self) -> None:
        address, self.address = self.address, 0
        self.array = np.empty(0, np.uint8)
        if address:
            self._call(self._call.bindings.cudaFreeHost, address)


class _Graph:
    def __init__(self, call: Calls, executable: Any) -> None:
        self._call, self._executable = call, executable

    def launch(self, stream: Stream) -> None:
        self._call(self._call.bindings.cudaGraphLaunch, self._executable, stream.native)

    def close(self) -> None:
        executable, self._executable = self._executable, None
        if executable is not None:
            self._call(self._call.bindings.cudaGraphExecDestroy, executable)


class CudaPythonRuntime:
    """``CudaRuntime`` on ``cuda.bindings.runtime`` (cuda-python 12.8 or later)."""

    name: RuntimeName = "cuda-python"
    supports_graphs = True

    def __init__(self, device: int = 0) -> None:
        self._call = Calls(_import_bindings())
        _require_device(self._call, device)
        self._index = device
        self.activate()
        self.device = self._properties()

    def _properties(self) -> DeviceProperties:
        rt = self._call.bindings
        properties = self._call(rt.cudaGetDeviceProperties, self._index)
        bus = self._call(rt.cudaDeviceGetPCIBusId, _PCI_BUS_ID_LENGTH, self._index)
        return DeviceProperties(
            index=self._index,
            name=_string(properties.name),
            compute_capability=(int(properties.major), int(properties.minor)),
            memory_bytes=int(properties.totalGlobalMem),
            pci_bus_id=_string(bus),
        )

    def driver_version(self) -> str:
        return _version(int(self._call(self._call.bindings.cudaDriverGetVersion)))

    def activate(self) -> None:
        self._call(self._call.bindings.cudaSetDevice, self._index)

    def allocate(self, nbytes: int) -> _DeviceMemory:
        return _DeviceMemory(self._call, nbytes)

    def pin(self, nbytes: int) -> _PinnedMemory:
        return _PinnedMemory(self._call, nbytes)

    def copy_to_device(self, address: int, source: Bytes, stream: Stream) -> None:
        kind = self._call.bindings.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, source.ctypes.data, source.nbytes, kind, stream)

    def copy_to_host(self, destination: Bytes, address: int, stream: Stream) -> None:
        kind = self._call.bindings.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(destination.ctypes.data, address, destination.nbytes, kind, stream)

    def copy_on_device(self, destination: int, source: int, nbytes: int, stream: Stream) -> None:
        kind = self._call.bindings.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._copy(destination, source, nbytes, kind, stream)

    def _copy(self, destination: int, source: int, nbytes: int, kind: Any, stream: Stream) -> None:
        self._call(self._call.bindings.cudaMemcpyAsync, destination, source, nbytes, kind, stream.native)

    def stream(self) -> _Stream:
        return _Stream(self._call)

    def event(self) -> _Event:
        return _Event(self._call)

    def capture(self, stream: Stream, enqueue: Callable[[], None]) -> _Graph:
        rt = self._call.bindings
        mode = rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(rt.cudaStreamBeginCapture, stream.native, mode)
        try:
            enqueue()
        except BaseException:
            rt.cudaStreamEndCapture(stream.native)  # leave capture mode; its own error would hide the first one
            raise
        graph = self._call(rt.cudaStreamEndCapture, stream.native)
        try:
            return _Graph(self._call, self._call(rt.cudaGraphInstantiate, graph, 0))
        finally:
            self._call(rt.cudaGraphDestroy, graph)

    def synchronise(self) -> None:
        self._call(self._call.bindings.cudaDeviceSynchronize)

    def close(self) -> None:
        """Nothing to free: the primary context belongs to the process."""


def _import_bindings() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError, RuntimeError) as error:
        raise package_missing(PACKAGE, INSTALL, error) from error


def _require_device(call: Calls, index: int) -> None:
    """Raise the ``EngineError`` that fits when GPU ``index`` cannot be used."""
    rt = call.bindings
    code, count = rt.cudaGetDeviceCount()
    if code == rt.cudaError_t.cudaErrorInsufficientDriver:
        driver = int(call(rt.cudaDriverGetVersion))
        needed = int(call(rt.cudaRuntimeGetVersion))
        raise driver_too_old(PACKAGE, _version(driver), _version(needed)) if driver else driver_missing(PACKAGE)
    if code == rt.cudaError_t.cudaErrorNoDevice or (int(code) == 0 and count == 0):
        raise no_device(PACKAGE)
    if int(code) != 0:
        raise call.error("cudaGetDeviceCount", code)
    if not 0 <= index < count:
        raise no_such_device(index, count)


def _version(number: int) -> str:
    """CUDA packs versions as 1000 * major + 10 * minor."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _string(value: bytes | str) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    return text.partition("\0")[0]
