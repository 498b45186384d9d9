"""The few TensorRT classes that running a plan needs, computing ``y = 2 * x + 1`` on the fake device.

It keeps TensorRT's rules where breaking them is undefined behaviour on a GPU: a context changed after it was captured
raises when its graph runs, shapes outside the profile are refused, a profile switch forgets the shapes.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from engines.tensorrt import library
from engines.tensorrt.capabilities import Capabilities
from engines.tensorrt.library import Library
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.gpu_machine.packages.stand_in_names import NEWEST, enums_of

Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]


_of_11 = enums_of(NEWEST)
Mode, Location = _of_11("TensorIOMode"), _of_11("TensorLocation")
Format, Kind = _of_11("TensorFormat"), _of_11("DataType")
Strategy = _of_11("ExecutionContextAllocationStrategy")


@dataclass
class FakeEngine:
    """``ICudaEngine`` with input ``x`` and output ``y`` of the same shape; one range of ``x`` per profile."""

    cuda: FakeCuda
    profiles: list[Range]
    shape: Shape = (-1, 3)
    kind: Kind = Kind.FLOAT
    format: Format = Format.LINEAR
    fails: bool = False
    contexts: list[FakeContext] = field(default_factory=list)
    config: Any = None
    device_memory_size_v2: int = field(default_factory=lambda: 64)

    num_io_tensors = 2

    @property
    def num_optimization_profiles(self) -> int:
        return len(self.profiles)

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_location(self, name: str) -> Location:
        return Location.DEVICE

    def get_tensor_format(self, name: str) -> Format:
        return self.format

    def get_tensor_dtype(self, name: str) -> Kind:
        return self.kind

    def get_tensor_shape(self, name: str) -> Shape:
        return self.shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Range:
        return self.profiles[profile_index]

    def create_execution_context(self, how: Any) -> FakeContext | None:
        if self.fails:
            return None
        self.contexts.append(FakeContext(self, how))
        return self.contexts[-1]

    def enqueue(self, context: FakeContext, stream_handle: int) -> None:
        shape, edition = context.shape, context.edition
        source, target = context.addresses["x"], context.addresses["y"]
        stream = self.cuda.streams[stream_handle]
        captured = stream.recording is not None

        def compute() -> None:
            assert not captured or edition == context.edition, "a captured context was changed: undefined behaviour"
            assert shape is not None
            count = math.prod(shape)
            x = np.frombuffer((ctypes.c_float * count).from_address(source), np.float32)
            y = np.frombuffer((ctypes.c_float * count).from_address(target), np.float32)
            y[:] = 2 * x + 1

        stream.put(compute)

    def create_runtime_config(self) -> SimpleNamespace:
        self.config = FakeRuntimeConfig()
        return self.config


class FakeRuntimeConfig:
    """TensorRT-RTX's ``IRuntimeConfig`` with its runtime cache."""

    def __init__(self) -> None:
        self.cache = FakeCache()

    def create_runtime_cache(self) -> FakeCache:
        return self.cache

    def set_runtime_cache(self, cache: FakeCache) -> bool:
        return cache is self.cache


class FakeCache:
    content = b"kernels"

    def __init__(self) -> None:
        self.loaded: bytes | None = None

    def deserialize(self, blob: bytes) -> bool:
        self.loaded = blob
        return blob == self.content

    def serialize(self) -> bytes:
        return self.content


class FakeContext:
    def __init__(self, engine: FakeEngine, how: Any) -> None:
        self.engine, self.how, self.profile, self.edition = engine, how, 0, 0
        self.shape: Shape | None = None
        self.addresses: dict[str, int] = {}
        self.shape_calls, self.address_calls = 0, 0
        self.refuses_with = ""

    def _changed(self) -> None:
        self.edition += 1

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory and size >= self.engine.device_memory_size_v2

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.profile, self.shape = profile_index, None
        self._changed()
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        low, _, high = self.engine.profiles[self.profile]
        self.shape_calls += 1
        if not all(a <= x <= b for a, x, b in zip(low, shape, high, strict=True)):
            return False
        self.shape = shape
        self._changed()
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        self.address_calls += 1
        self._changed()
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        return self.shape or self.engine.shape

    def get_max_output_size(self, name: str) -> int:
        return math.prod(self.shape) * 4 if self.shape else -1

    def infer_shapes(self) -> list[str]:
        return [] if self.shape else ["x"]

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.refuses_with:
            for receiver in tuple(library._receivers):  # TensorRT answers False and logs the reason
                receiver("ERROR", self.refuses_with)
            return False
        self.engine.enqueue(self, stream_handle)
        return True


def fake_library(*, rtx: bool = False) -> Library:
    """The ``Library`` around these classes: TensorRT, or TensorRT-RTX with its runtime configuration."""
    module: Any = ModuleType("fake_tensorrt")
    module.TensorIOMode, module.TensorLocation, module.TensorFormat = Mode, Location, Format
    module.ExecutionContextAllocationStrategy = Strategy
    module.CudaGraphStrategy = Enum("CudaGraphStrategy", "DISABLED WHOLE_GRAPH_CAPTURE")
    module.DynamicShapesKernelSpecializationStrategy = Enum("Specialization", "LAZY EAGER NONE")
    capabilities = Capabilities(
        runtime_cache=rtx, cuda_graph_strategy=rtx, engine_validity=rtx, timing_cache=True, plugins=not rtx
    )
    return Library(module, "tensorrt_rtx" if rtx else "tensorrt", "0", capabilities)


ONE_PROFILE = [((1, 3), (4, 3), (16, 3))]


def batch(rows: int, start: float = 0.0) -> np.ndarray[Any, Any]:
    return np.arange(start, start + rows * 3, dtype=np.float32).reshape(rows, 3)
