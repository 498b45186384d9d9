"""TensorRT 8.5's way of running, on the fake device: no allocation strategies, activations by address alone, and its
rule that no two contexts of a dynamic plan use one optimization profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engines.tensorrt.library import Library
from tests.engines.conformance.bindings import BINDINGS, snapshot
from tests.engines.cuda.fake_tensorrt import FakeContext, FakeEngine, Format, Location, Mode, Shape


class OldContext(FakeContext):
    """Only the first context of a plan starts with a profile; a profile that another one has is refused."""

    def __init__(self, engine: OldEngine, *, caller_memory: bool) -> None:
        super().__init__(engine, None)
        self.profile = 0 if not engine.contexts else -1
        self.caller_memory, self.memory = caller_memory, 0

    @property
    def device_memory(self) -> int:
        return self.memory

    @device_memory.setter
    def device_memory(self, address: int) -> None:
        assert self.caller_memory and address
        self.memory = address

    def set_device_memory(self, memory: int, size: int) -> None:
        raise AttributeError("set_device_memory")

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        others = (context for context in self.engine.contexts if context is not self)
        if any(context.profile == profile_index for context in others):
            return False
        return super().set_optimization_profile_async(profile_index, stream_handle)

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        assert self.profile >= 0 or -1 not in self.engine.shape, "no optimization profile was set"
        return super().set_input_shape(name, shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert not self.caller_memory or self.memory, "no memory for activations"
        return super().execute_async_v3(stream_handle)


@dataclass
class OldEngine(FakeEngine):
    """``ICudaEngine`` of 8.5; ``profiles`` are as the plan has them, copies included."""

    device_memory_size: int = 64

    def __post_init__(self) -> None:
        del self.device_memory_size_v2

    def create_execution_context(self) -> OldContext | None:  # type: ignore[override]
        return self._new(caller_memory=False)

    def create_execution_context_without_device_memory(self) -> OldContext | None:
        return self._new(caller_memory=True)

    def _new(self, *, caller_memory: bool) -> OldContext:
        context = OldContext(self, caller_memory=caller_memory)
        self.contexts.append(context)
        return context


def old_library() -> Library:
    """A ``Library`` with the capabilities of the real 8.5.3.1 and the enums of the fake device."""
    real = snapshot(BINDINGS[0])
    module: Any = real.module
    module.TensorIOMode, module.TensorLocation, module.TensorFormat = Mode, Location, Format
    return Library(module, "tensorrt", real.version, real.capabilities)
