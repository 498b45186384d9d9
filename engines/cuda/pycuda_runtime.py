"""The CUDA runtime on pycuda (``pycuda.driver``), the second implementation: everything but CUDA graphs.

It uses the device's primary context, the one TensorRT itself runs in.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from engines.cuda.missing import driver_missing, no_device, no_graphs, no_such_device, package_missing
from engines.cuda.runtime import Bytes, DeviceProperties, Event, Graph, RuntimeName, Stream
from engines.errors import EngineError

PACKAGE = "pycuda"
INSTALL = (
    "pip install 'enginewright[pycuda]' where a CUDA toolkit (cuda.h, libcurand) and the NVIDIA driver are installed, "
    "or use --cuda-runtime cuda-python"
)
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING; pycuda takes the driver's flag word and has no name for it


@contextmanager
def _checked(drv: Any) -> Iterator[None]:
    """Turn pycuda's exceptions into ``EngineError``; their text begins with the failing call."""
    try:
        yield
    except drv.Error as error:
        raise EngineError(f"{type(error).__name__}: {error}", where=f"CUDA runtime {PACKAGE}") from error


class _Stream:
    def __init__(self, drv: Any) -> None:
        self._drv = drv
        with _checked(drv):
            self.native: Any = drv.Stream(_NON_BLOCKING)

    @property
    def handle(self) -> int:
        return int(self.native.handle)

    def synchronise(self) -> None:
        with _checked(self._drv):
            self.native.synchronize()

    def wait(self, event: Event) -> None:
        with _checked(self._drv):
            self.native.wait_for_event(event.native)

    def close(self) -> None:
        self.native = None  # pycuda destroys the stream with its object


class _Event:
    def __init__(self, drv: Any) -> None:
        self._drv = drv
        with _checked(drv):
            self.native: Any = drv.Event()

    def record(self, stream: Stream) -> None:
        with _checked(self._drv):
            self.native.record(stream.native)

    def synchronise(self) -> None:
        with _checked(self._drv):
            self.native.synchronize()

    def elapsed_ms(self, since: Event) -> float:
        with _checked(self._drv):
            return float(self.native.time_since(since.native))

    def close(self) -> None:
        self.native = None


class _DeviceMemory:
    def __init__(self, drv: Any, nbytes: int) -> None:
        self._drv, self.nbytes = drv, nbytes
        with _checked(drv):
            self._allocation: Any = drv.mem_alloc(max(1, nbytes))
        self.address = int(self._allocation)

    def close(self) -> None:
        allocation, self._allocation, self.address = self._allocation, None, 0
        if allocation is not None:
            with _checked(self._drv):
                allocation.free()


class _PinnedMemory:
    def __init__(self, drv: Any, nbytes: int) -> None:
        with _checked(drv):
            self.array: Bytes = drv.pagelocked_empty(max(1, nbytes), np.uint8)[:nbytes]
        self.address = int(self.array.ctypes.data)

    def close(self) -> None:
        self.array, self.address = np.empty(0, np.uint8), 0  # freed with the last view of it


class PyCudaRuntime:
    """``CudaRuntime`` on ``pycuda.driver``; ``capture`` raises, because pycuda has no CUDA graphs."""

    name: RuntimeName = "pycuda"
    supports_graphs = False

    def __init__(self, device: int = 0) -> None:
        self._drv = _import_driver()
        self._handle = _open_device(self._drv, device)
        self._index = device
        self._threads = threading.local()
        with _checked(self._drv):
            self._context: Any = self._handle.retain_primary_context()
        self.activate()
        self.device = self._properties()

    def _properties(self) -> DeviceProperties:
        with _checked(self._drv):
            major, minor = self._handle.compute_capability()
            return DeviceProperties(
                index=self._index,
                name=str(self._handle.name()),
                compute_capability=(int(major), int(minor)),
                memory_bytes=int(self._handle.total_memory()),
                pci_bus_id=str(self._handle.pci_bus_id()),
            )

    def driver_version(self) -> str:
        with _checked(self._drv):
            number = int(self._drv.get_driver_version())
        return f"{number // 1000}.{number % 1000 // 10}"

    def activate(self) -> None:
        if getattr(self._threads, "active", False):
            return
        with _checked(self._drv):
            self._context.push()
        self._threads.active = True

    def allocate(self, nbytes: int) -> _DeviceMemory:
        return _DeviceMemory(self._drv, nbytes)

    def pin(self, nbytes: int) -> _PinnedMemory:
        return _PinnedMemory(self._drv, nbytes)

    def copy_to_device(self, address: int, source: Bytes, stream: Stream) -> None:
        with _checked(self._drv):
            self._drv.memcpy_htod_async(address, source, stream.native)

    def copy_to_host(self, destination: Bytes, address: int, stream: Stream) -> None:
        with _checked(self._drv):
            self._drv.memcpy_dtoh_async(destination, address, stream.native)

    def copy_on_device(self, destination: int, source: int, nbytes: int, stream: Stream) -> None:
        with _checked(self._drv):
            self._drv.memcpy_dtod_async(destination, source, nbytes, stream.native)

    def stream(self) -> _Stream:
        return _Stream(self._drv)

    def event(self) -> _Event:
        return _Event(self._drv)

    def capture(self, stream: Stream, enqueue: Callable[[], None]) -> Graph:
        raise no_graphs(PACKAGE)

    def synchronise(self) -> None:
        with _checked(self._drv):
            self._drv.Context.synchronize()

    def close(self) -> None:
        if getattr(self._threads, "active", False):
            with _checked(self._drv):
                self._drv.Context.pop()
            self._threads.active = False


def _import_driver() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except ModuleNotFoundError as error:
        raise package_missing(PACKAGE, INSTALL, error) from error
    except (ImportError, OSError) as error:  # built, but libcuda or libcurand is not here
        if "libcuda" in str(error) or "undefined symbol: cu" in str(error):
            raise driver_missing(PACKAGE) from error
        raise package_missing(PACKAGE, INSTALL, error) from error


def _open_device(drv: Any, index: int) -> Any:
    with _checked(drv):
        try:
            drv.init()
            count = int(drv.Device.count())
        except drv.Error as error:
            if "no CUDA-capable device" in str(error):
                raise no_device(PACKAGE) from error
            raise
        if count == 0:
            raise no_device(PACKAGE)
        if not 0 <= index < count:
            raise no_such_device(index, count)
        return drv.Device(index)
