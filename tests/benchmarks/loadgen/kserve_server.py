"""A small server of the Open Inference Protocol (KServe v2, what Triton speaks) over real gRPC, for tests.

It serves an engine: metadata and inference with raw tensors, as the protocol's ``GRPCInferenceService`` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as service

from engines.engine import Engine, TensorSpec

TYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "uint8": "UINT8"}


class Servicer(service.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """One model, ``tiny``; ``requests`` counts inferences and samples; ``fail_on`` raises on that first feature."""

    def __init__(self, engine: Engine, fail_on: float | None = None) -> None:
        self._engine, self._fail_on = engine, fail_on
        self.requests = 0
        self.samples = 0

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.name != "tiny":
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        return pb.ModelMetadataResponse(
            name="tiny",
            platform="onnxruntime_onnx",
            inputs=[_metadata(spec) for spec in self._engine.inputs],
            outputs=[_metadata(spec) for spec in self._engine.outputs],
        )

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        specs = {spec.name: spec for spec in self._engine.inputs}
        feed = {
            tensor.name: np.frombuffer(raw, specs[tensor.name].dtype).reshape(tuple(tensor.shape))
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        first = next(iter(feed.values()))
        self.requests += 1
        self.samples += len(first)
        if self._fail_on is not None and (first[:, 0] == self._fail_on).any():
            context.abort(grpc.StatusCode.INTERNAL, "the backend fell over")
        answer = pb.ModelInferResponse(model_name="tiny")
        for name, array in self._engine.infer(feed).items():
            kind = TYPES[array.dtype.name]
            answer.outputs.append(pb.ModelInferResponse.InferOutputTensor(name=name, datatype=kind, shape=array.shape))
            answer.raw_output_contents.append(array.tobytes())
        return answer


def _metadata(spec: TensorSpec) -> Any:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=TYPES[spec.dtype], shape=shape)


@contextmanager
def serving(servicer: Servicer) -> Iterator[str]:
    """Serve on a free port of the loopback; yields ``grpc://127.0.0.1:PORT/tiny``."""
    server = grpc.server(ThreadPoolExecutor(8))
    service.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}/tiny"
    finally:
        server.stop(None)
