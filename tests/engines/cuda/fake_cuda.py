"""A ``CudaRuntime`` in host memory, as lazy as a GPU: nothing on a stream happens before something waits for it.

Laziness is what makes the tests able to fail: output read before its event, or an input buffer written over while it
is still in flight, gives wrong numbers here as on a GPU. "Device" addresses are those of host buffers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.cuda.runtime import Bytes, DeviceProperties, Event, RuntimeName, Stream
from engines.errors import EngineError

Work = Callable[[], None]


class FakeStream:
    """A queue of work. While ``recording`` is a list, work is captured into it instead."""

    def __init__(self, runtime: FakeCuda) -> None:
        self.runtime, self.native, self.handle = runtime, self, 1000 + len(runtime.streams)
        self.pending: list[Work] = []
        self.recording: list[Work] | None = None
        runtime.streams[self.handle] = self

    def put(self, work: Work) -> None:
        (self.pending if self.recording is None else self.recording).append(work)

    def synchronise(self) -> None:
        if self.recording is not None:
            raise EngineError("cudaErrorStreamCaptureUnsupported")
        while self.pending:
            self.pending.pop(0)()

    def wait(self, event: Event) -> None:
        self.put(event.synchronise)

    def close(self) -> None:
        self.runtime.closed.append("stream")


class FakeEvent:
    """Happens when its stream gets there; time is a counter of finished work."""

    def __init__(self, runtime: FakeCuda) -> None:
        self.runtime, self.native = runtime, self
        self.stream: FakeStream | None = None
        self.at: float | None = None

    def record(self, stream: Stream) -> None:
        self.stream, self.at = stream.native, None
        stream.native.put(self._happen)

    def _happen(self) -> None:
        self.runtime.clock += 1.0
        self.at = self.runtime.clock

    def synchronise(self) -> None:
        assert self.stream is not None
        while self.at is None:
            self.stream.pending.pop(0)()

    def elapsed_ms(self, since: Event) -> float:
        before = since.native.at
        if self.at is None or before is None:
            raise EngineError("cudaErrorNotReady")
        return float(self.at - before)

    def close(self) -> None:
        self.runtime.closed.append("event")


@dataclass
class FakeMemory:
    runtime: FakeCuda
    nbytes: int
    array: Bytes = field(init=False)

    def __post_init__(self) -> None:
        self.array = np.full(max(1, self.nbytes), 0xCD, np.uint8)[: self.nbytes]  # uninitialised memory is not zero
        self.address = int(self.array.ctypes.data)

    def close(self) -> None:
        self.runtime.closed.append("memory")


@dataclass
class FakeGraph:
    runtime: FakeCuda
    work: list[Work]

    def launch(self, stream: Stream) -> None:
        self.runtime.launches += 1
        for item in self.work:
            stream.native.put(item)

    def close(self) -> None:
        self.runtime.closed.append("graph")


class FakeCuda:
    """``CudaRuntime`` for tests; counts graph captures, launches and what was closed."""

    name: RuntimeName = "cuda-python"
    device = DeviceProperties(0, "Fake GPU", (8, 0), 1 << 30, "0000:00:00.0")

    def __init__(self, *, supports_graphs: bool = True, capture_fails: bool = False) -> None:
        self.supports_graphs, self.capture_fails = supports_graphs, capture_fails
        self.streams: dict[int, FakeStream] = {}
        self.clock, self.captures, self.launches = 0.0, 0, 0
        self.opened: list[str] = []
        self.closed: list[str] = []

    def driver_version(self) -> str:
        return "13.0"

    def activate(self) -> None: ...

    def _open(self, kind: str, thing: Any) -> Any:
        self.opened.append(kind)
        return thing

    def allocate(self, nbytes: int) -> FakeMemory:
        return self._open("memory", FakeMemory(self, nbytes))

    def pin(self, nbytes: int) -> FakeMemory:
        return self._open("memory", FakeMemory(self, nbytes))

    def copy_to_device(self, address: int, source: Bytes, stream: Stream) -> None:
        self.copy_on_device(address, int(source.ctypes.data), source.nbytes, stream)

    def copy_to_host(self, destination: Bytes, address: int, stream: Stream) -> None:
        self.copy_on_device(int(destination.ctypes.data), address, destination.nbytes, stream)

    def copy_on_device(self, destination: int, source: int, nbytes: int, stream: Stream) -> None:
        stream.native.put(lambda: ctypes.memmove(destination, source, nbytes) and None)

    def stream(self) -> FakeStream:
        return self._open("stream", FakeStream(self))

    def event(self) -> FakeEvent:
        return self._open("event", FakeEvent(self))

    def capture(self, stream: Stream, enqueue: Callable[[], None]) -> FakeGraph:
        if self.capture_fails:
            raise EngineError("cudaStreamEndCapture failed with cudaErrorStreamCaptureInvalidated")
        self.captures += 1
        stream.native.recording = []
        enqueue()
        work, stream.native.recording = stream.native.recording, None
        return self._open("graph", FakeGraph(self, work))

    def synchronise(self) -> None:
        for stream in self.streams.values():
            stream.synchronise()

    def close(self) -> None: ...
