"""The CUDA runtime protocol: the few device operations an engine needs, and the way to open one implementation.

``cuda-python`` (the default) and ``pycuda`` implement it. Every failing CUDA call raises ``EngineError`` with CUDA's
own error name; nothing returns an error code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

RuntimeName: TypeAlias = Literal["cuda-python", "pycuda"]
RUNTIME_NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class DeviceProperties:
    """One GPU. ``memory_bytes`` is its global memory; ``pci_bus_id`` is how NVML finds the same board."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    pci_bus_id: str


class Stream(Protocol):
    """An ordered queue of device work that does not synchronise with the default stream."""

    @property
    def native(self) -> Any:
        """The implementation's own object."""
        ...

    @property
    def handle(self) -> int:
        """The ``cudaStream_t`` as TensorRT, DLPack and ``__cuda_array_interface__`` want it."""
        ...

    def synchronise(self) -> None: ...

    def wait(self, event: Event) -> None:
        """Hold later work of this stream until ``event`` has happened."""
        ...

    def close(self) -> None: ...


class Event(Protocol):
    """A point in a stream, with a time."""

    @property
    def native(self) -> Any: ...

    def record(self, stream: Stream) -> None: ...

    def synchronise(self) -> None: ...

    def elapsed_ms(self, since: Event) -> float:
        """Milliseconds from ``since`` to this event; both must have happened. Resolution about 0.5 us."""
        ...

    def close(self) -> None: ...


class DeviceMemory(Protocol):
    """A device allocation, aligned to at least 256 bytes."""

    @property
    def address(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    def close(self) -> None: ...


class PinnedMemory(Protocol):
    """Page-locked host memory, the only kind that copies asynchronously."""

    @property
    def array(self) -> Bytes:
        """The memory as a flat ``uint8`` array; views of it die with ``close``."""
        ...

    @property
    def address(self) -> int: ...

    def close(self) -> None: ...


class Graph(Protocol):
    """Captured work, launched again with one call. Addresses and shapes are frozen in it."""

    def launch(self, stream: Stream) -> None: ...

    def close(self) -> None: ...


class CudaRuntime(Protocol):
    """Device operations on one GPU, chosen when the runtime was opened."""

    @property
    def name(self) -> RuntimeName: ...

    @property
    def supports_graphs(self) -> bool: ...

    @property
    def device(self) -> DeviceProperties: ...

    def driver_version(self) -> str:
        """The newest CUDA version the driver supports, ``"13.0"``."""
        ...

    def activate(self) -> None:
        """Make the device current in the calling thread. Cheap; needed once in every thread that uses the runtime."""
        ...

    def allocate(self, nbytes: int) -> DeviceMemory: ...

    def pin(self, nbytes: int) -> PinnedMemory: ...

    def copy_to_device(self, address: int, source: Bytes, stream: Stream) -> None:
        """Copy a flat ``uint8`` view of pinned memory to ``address``, asynchronously."""
        ...

    def copy_to_host(self, destination: Bytes, address: int, stream: Stream) -> None:
        """Copy from ``address`` into a flat ``uint8`` view of pinned memory, asynchronously."""
        ...

    def copy_on_device(self, destination: int, source: int, nbytes: int, stream: Stream) -> None: ...

    def stream(self) -> Stream: ...

    def event(self) -> Event: ...

    def capture(self, stream: Stream, enqueue: Callable[[], None]) -> Graph:
        """Record what ``enqueue`` puts on ``stream``, without running it. ``EngineError`` where that cannot be done."""
        ...

    def synchronise(self) -> None:
        """Wait for all work on the device."""
        ...

    def close(self) -> None: ...
