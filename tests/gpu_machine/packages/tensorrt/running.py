"""The runtime: ONNX Runtime computes on the addresses that a context was given, when its stream gets there."""

from __future__ import annotations

import ctypes
import json
import math
import time
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
from cuda.bindings import runtime as cuda
from stand_in_faults import strikes

from tensorrt.building import FRAME, LENGTH, VERSION
from tensorrt.names import (
    DataType,
    ExecutionContextAllocationStrategy,
    ILogger,
    LayerInformationFormat,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
)

Shape = tuple[int, ...]
NUMPY = {"FLOAT": "f4", "HALF": "f2", "INT8": "i1", "INT32": "i4", "INT64": "i8", "BOOL": "?", "BF16": "V2"}
PACE_MS = {"int8": 0.25, "fp16": 0.75, "fp32": 1.5}
"""Milliseconds that a run takes for each of (4 + an eighth of its first extent): INT8 is three times as fast as FP16,
whatever the processor behind it makes of the graphs. An answer is computed once for the same inputs."""


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        plan = bytes(serialized_engine)
        version = FRAME.unpack(plan[: FRAME.size])[5:9]
        if version != VERSION:
            text = "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Version tag does not match)"
            self._logger.log(ILogger.Severity.ERROR, text)
            return None
        return ICudaEngine(plan[FRAME.size :], self._logger)


class ICudaEngine:
    device_memory_size_v2 = 1 << 20
    streamable_weights_size = weight_streaming_budget_v2 = 0

    def __init__(self, content: bytes, logger: ILogger) -> None:
        self._logger = logger
        (length,) = LENGTH.unpack(content[: LENGTH.size])
        self._about = json.loads(content[LENGTH.size : LENGTH.size + length])
        self._tensors = {found["name"]: found for found in (*self._about["inputs"], *self._about["outputs"])}
        self._inputs = [found["name"] for found in self._about["inputs"]]
        self._kind = self._about["kind"]
        self._answers: dict[bytes, list[np.ndarray[Any, Any]]] = {}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        model = content[LENGTH.size + length :]
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    num_io_tensors = property(lambda self: len(self._tensors))
    num_optimization_profiles = property(lambda self: max(1, len(self._about["profiles"])))

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> TensorFormat:
        return TensorFormat.LINEAR

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self._tensors[name]["dtype"]]

    def get_tensor_shape(self, name: str) -> Shape:
        return tuple(self._tensors[name]["shape"])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Shape]:
        return [tuple(shape) for shape in self._about["profiles"][profile_index][name]]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> IExecutionContext | None:
        if strikes("memory", self._kind):
            return None
        return IExecutionContext(self, own_memory=strategy is not ExecutionContextAllocationStrategy.USER_MANAGED)


class EngineInspector:
    execution_context: IExecutionContext | None = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002  # TensorRT's own name
        return json.dumps({"Layers": self._engine._about["layers"]})


class IExecutionContext:
    profiler: Any = None
    enqueue_emits_profile = True

    def __init__(self, engine: ICudaEngine, own_memory: bool) -> None:
        self.engine, self._profile, self._own_memory, self._memory = engine, 0, own_memory, 0
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, memory: int, size: int) -> None:
        assert not self._own_memory and memory and size >= self.engine.device_memory_size_v2
        self._memory = memory

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile, self._shapes = profile_index, {}
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        profiles = self.engine._about["profiles"]
        if profiles and name in profiles[self._profile]:
            low, _, high = profiles[self._profile][name]
            if not all(a <= extent <= b for a, extent, b in zip(low, shape, high, strict=True)):
                return False
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def infer_shapes(self) -> list[str]:
        return [
            name
            for name in self.engine._inputs
            if -1 in self.engine.get_tensor_shape(name) and name not in self._shapes
        ]

    def get_tensor_shape(self, name: str) -> Shape:
        if name in self.engine._inputs:
            return self._shapes.get(name, self.engine.get_tensor_shape(name))
        first = next(iter(self._shapes.values()), (1,))[0]  # our stand-in's models have no other free axis
        return tuple(first if extent < 0 else extent for extent in self.engine.get_tensor_shape(name))

    def get_max_output_size(self, name: str) -> int:
        return math.prod(self.get_tensor_shape(name)) * np.dtype(NUMPY[self.engine._tensors[name]["dtype"]]).itemsize

    def execute_async_v3(self, stream_handle: int) -> bool:
        if why := self._not_ready():
            self.engine._logger.log(ILogger.Severity.ERROR, f"IExecutionContext::enqueueV3: Error Code 3: ({why})")
            return False
        shapes = {name: self.get_tensor_shape(name) for name in self.engine._tensors}
        addresses = dict(self._addresses)
        cuda.enqueue(stream_handle, lambda: self._run(shapes, addresses))
        return True

    def _not_ready(self) -> str:
        """Why the real context would not run, as ``execute_async_v3`` answers False and logs it."""
        if not self._own_memory and not self._memory:
            return "the context was created without device memory, and none was set"
        if missing := self.infer_shapes():
            return f"the shape of input {missing[0]} is not specified"
        unset = [name for name in self.engine._tensors if not self._addresses.get(name)]
        return f"no address is set for {unset[0]}" if unset else ""

    def _run(self, shapes: dict[str, Shape], addresses: dict[str, int]) -> None:
        engine, started = self.engine, time.perf_counter()
        if strikes("crash", engine._kind):
            ctypes.string_at(0)
        arrays = {
            name: _array(addresses[name], shapes[name], engine._tensors[name]["dtype"]) for name in engine._tensors
        }
        outputs = [name for name in engine._tensors if name not in engine._inputs]
        feed = {name: arrays[name] for name in engine._inputs}
        key = b"".join(value.tobytes() for value in feed.values())
        if key not in engine._answers:
            engine._answers[key] = engine._session.run(outputs, feed)
        answers = engine._answers[key]
        for name, answer in zip(outputs, answers, strict=True):
            if strikes("wrong", engine._kind):
                answer = -answer
            if strikes("coarse", engine._kind):
                answer = answer + 0.03 * np.std(answer) * np.random.default_rng(0).standard_normal(answer.shape)
            arrays[name][...] = answer
        first = shapes[engine._inputs[0]][0] if shapes[engine._inputs[0]] else 1
        pace = PACE_MS[engine._kind] * (6 if strikes("slow", engine._kind) else 1)
        left = pace * (4 + first / 8) / 1e3 - (time.perf_counter() - started)
        time.sleep(max(left, 0))
        if self.profiler is not None:
            for layer in engine._about["layers"]:
                self.profiler.report_layer_time(layer["Name"], 1e3 * (time.perf_counter() - started) / 8)


def _array(address: int, shape: Shape, kind: str) -> np.ndarray[Any, Any]:
    dtype = np.dtype(ml_dtypes.bfloat16) if kind == "BF16" else np.dtype(NUMPY[kind])
    memory = (ctypes.c_uint8 * (math.prod(shape) * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)
