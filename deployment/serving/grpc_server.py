"""The protocol over gRPC, by ``grpc.aio``; messages and service are those that tritonclient's package carries.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from deployment.serving.access import Access
from deployment.serving.inference import (
    answer,
    load_bundle,
    model_config,
    model_metadata,
    model_statistics,
    refuse_parameters,
    server_metadata,
    wanted_outputs,
)
from deployment.serving.refusals import GRPC_CODES, RETRY_SECONDS, Refusal, bad_request
from deployment.serving.state import State
from deployment.serving.tensors import datatype_of, to_bytes
from deployment.serving.version import ServedVersion
from engines.datatypes import NAMES
from engines.engine import Array

PUSHBACK = "grpc-retry-pushback-ms"
"""How gRPC's servers say when to try again (grpc/proposal A6)."""
_CONTENTS = {
    "BOOL": "bool_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **{f"{sign}INT{bits}": f"{sign.lower()}int_contents" for sign in ("", "U") for bits in (8, 16, 32)},
}
"""Field of ``InferTensorContents`` by datatype; FP16, BF16 have none and come as raw bytes."""
_Call = Callable[[], Awaitable[Any]]


class GrpcService(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers every call; what is not served (shared memory, traces, log settings) is UNIMPLEMENTED."""

    def __init__(self, state: State, access: Access) -> None:
        self._state, self._access = state, access

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._state.ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return pb.ModelReadyResponse(ready=self._state.model_ready(request.name, request.version))

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            return pb.ServerMetadataResponse(**server_metadata(self._state.version))

        return await self._answered(context, told)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            repository = self._state.repository
            served = repository.get(request.name, request.version)
            return ParseDict(
                model_metadata(served, list(repository.models[request.name].versions)), pb.ModelMetadataResponse()
            )

        return await self._answered(context, told)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            served = self._state.repository.get(request.name, request.version)
            return ParseDict({"config": model_config(served)}, pb.ModelConfigResponse())

        return await self._answered(context, told)

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            repository = self._state.repository
            if request.name:
                versions = [repository.get(request.name, request.version)]
            else:
                versions = [v for model in repository.models.values() for v in model.versions.values()]
            return ParseDict({"model_stats": [model_statistics(v) for v in versions]}, pb.ModelStatisticsResponse())

        return await self._answered(context, told)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            return ParseDict({"models": self._state.repository.index(request.ready)}, pb.RepositoryIndexResponse())

        return await self._answered(context, told)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            await load_bundle(self._state.repository, request.model_name, request.parameters)
            return pb.RepositoryModelLoadResponse()

        return await self._answered(context, told)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        async def told() -> Any:
            await self._state.repository.unload(request.model_name)
            return pb.RepositoryModelUnloadResponse()

        return await self._answered(context, told)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        return await self._answered(context, lambda: self._timed(request))

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """One answer per request, in their order; what is refused is said in the answer, and the stream goes on."""
        await self._answered(context, _nothing)
        async for request in requests:
            try:
                yield pb.ModelStreamInferResponse(infer_response=await self._timed(request))
            except Refusal as refusal:
                id_alone = pb.ModelInferResponse(id=request.id)
                yield pb.ModelStreamInferResponse(error_message=refusal.message, infer_response=id_alone)

    async def _answered(self, context: Any, call: _Call) -> Any:
        """What ``call`` returns; what it refuses ends the call with the code of gRPC."""
        try:
            self._access.check(dict(context.invocation_metadata() or ()).get("authorization"))
            return await call()
        except Refusal as refusal:
            metadata = ((PUSHBACK, str(RETRY_SECONDS * 1000)),) if refusal.retry else ()
            code = getattr(grpc.StatusCode, GRPC_CODES[refusal.status])
            return await context.abort(code, refusal.message, metadata)

    async def _timed(self, request: Any) -> Any:
        with self._state.metrics.timed("grpc"):
            return await self._infer(request)

    async def _infer(self, request: Any) -> Any:
        with self._state.gate.admit() as place:
            place.hold(request.ByteSize())
            with self._state.repository.get(request.model_name, request.model_version).used() as served:
                feed = read_feed(request, served)
                for output in request.outputs:
                    refuse_parameters(output.parameters, f"output {output.name[:80]!r}")
                wanted = wanted_outputs(served, [output.name for output in request.outputs])
                outputs = await answer(served, feed)
                found = pb.ModelInferResponse(model_name=served.name, model_version=served.version, id=request.id)
                for name in wanted:
                    array = outputs[name]
                    found.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
                    found.raw_output_contents.append(to_bytes(array))
                return found


async def _nothing() -> None:
    return None


def read_feed(request: Any, version: ServedVersion) -> dict[str, Array]:
    """The arrays of a ``ModelInferRequest``. Raises ``Refusal`` naming the input that does not fit."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise bad_request(f"{len(raw)} raw tensors for {len(request.inputs)} inputs", where="raw_input_contents")
    feed: dict[str, Array] = {}
    for index, tensor in enumerate(request.inputs):
        where = f"input {tensor.name[:80]!r}"
        if tensor.name in feed:
            raise bad_request("given twice", where=where)
        refuse_parameters(tensor.parameters, where)
        if raw:
            feed[tensor.name] = version.decode.raw(tensor.name, tensor.datatype, tensor.shape, raw[index])
        else:
            values = _typed(tensor, where)
            feed[tensor.name] = version.decode.listed(tensor.name, tensor.datatype, tensor.shape, values)
    return feed


def _typed(tensor: Any, where: str) -> Any:
    field = _CONTENTS.get(tensor.datatype)
    if field is None and tensor.datatype in NAMES.values():
        raise bad_request(f"{tensor.datatype} has no typed contents", where=where, expected="raw_input_contents")
    return list(getattr(tensor.contents, field)) if field is not None else []
