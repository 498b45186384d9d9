"""Running as TensorRT 8.5 does it, where it differs: activations by address alone, an optimization profile to each
context, int32 where the model has int64, an inspector that tells types in words and no ONNX node.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from stand_in_faults import strikes
from stand_in_names import without

from tensorrt import building, running
from tensorrt.names import LayerInformationFormat
from tensorrt.old_building import DataType

_WORDS = {"Int8": "INT8", "Half": "FP16", "Float": "FP32"}
_NUMPY = {"tensor(int64)": np.int64}


class Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        plan = bytes(serialized_engine)
        if plan[:4] != b"ptrt":
            self._logger.log(self._logger.Severity.ERROR, "Magic tag does not match")
            return None
        return ICudaEngine(plan[building.FRAME.size :], self._logger)


class _Session:
    """ONNX Runtime's, fed with the types that the plan binds."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._types = {value.name: _NUMPY.get(value.type) for value in session.get_inputs()}

    def run(self, outputs: list[str], feed: dict[str, Any]) -> Any:
        return self._session.run(outputs, {name: self._cast(name, value) for name, value in feed.items()})

    def _cast(self, name: str, value: Any) -> Any:
        dtype = self._types[name]
        return value if dtype is None else value.astype(dtype)


_Engine = without(running.ICudaEngine, "device_memory_size_v2", "streamable_weights_size", "weight_streaming_budget_v2")
_Context = without(running.IExecutionContext, "set_device_memory")


class ICudaEngine(_Engine):  # type: ignore[misc]
    device_memory_size = 1 << 20

    def __init__(self, content: bytes, logger: Any) -> None:
        super().__init__(content, logger)
        self._session = _Session(self._session)
        self._contexts: list[IExecutionContext] = []

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self._tensors[name]["dtype"]]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    def create_execution_context(self) -> IExecutionContext | None:
        return None if strikes("memory", self._kind) else self._new(own_memory=True)

    def create_execution_context_without_device_memory(self) -> IExecutionContext | None:
        return None if strikes("memory", self._kind) else self._new(own_memory=False)

    def _new(self, *, own_memory: bool) -> IExecutionContext:
        context = IExecutionContext(self, own_memory)
        self._contexts.append(context)
        return context


class EngineInspector:
    execution_context: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002  # TensorRT's own name
        return json.dumps({"Layers": [self._told(layer) for layer in self._engine._about["layers"]]})

    def _told(self, layer: dict[str, Any]) -> dict[str, Any]:
        sides = {
            side: [{"Name": t["Name"], "Format/Datatype": self._words(t["Datatype"])} for t in layer[side]]
            for side in ("Inputs", "Outputs")
        }
        name = layer["Name"].removesuffix("_myl0")
        return {"Name": f"PWN({name})", "LayerType": layer["LayerType"], "TacticName": layer["TacticName"], **sides}

    def _words(self, dtype: str) -> str:
        if self.execution_context is None or not self.execution_context._shapes:
            return "N/A due to dynamic shapes"
        return f"Row major linear {_WORDS[dtype]} format"


class IExecutionContext(_Context):  # type: ignore[misc]
    def __init__(self, engine: ICudaEngine, own_memory: bool) -> None:
        super().__init__(engine, own_memory)
        self._profile = -1 if engine._contexts else 0  # only the first context starts with one

    @property
    def device_memory(self) -> int:
        return self._memory

    @device_memory.setter
    def device_memory(self, memory: int) -> None:
        assert not self._own_memory and memory
        self._memory = memory

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        others = (context for context in self.engine._contexts if context is not self)
        if any(context._profile == profile_index for context in others):
            return False
        return super().set_optimization_profile_async(profile_index, stream_handle)

    def _not_ready(self) -> str:
        if self._profile < 0 and self.engine._about["profiles"]:
            return "no optimization profile is set"
        return str(super()._not_ready())
