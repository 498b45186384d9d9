"""Messages that are none, over gRPC: its library tells the client of an unknown error and names a class of Python."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError


@dataclass(frozen=True)
class _Unreadable:
    """In place of a message."""

    why: str


class Lenient:
    """What a service registers with in place of ``server``: requests that cannot be read are INVALID_ARGUMENT."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self._server.add_generic_rpc_handlers(tuple(map(_Handlers, handlers)))

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """A quicker way for servers that are not ``grpc.aio``'s."""


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Those of ``inner``, each made once."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._made = inner, dict[str, Any]()

    def service(self, details: Any) -> Any:
        """The handler of a method; None for one that is not served."""
        method = details.method
        if method not in self._made:
            handler = self._inner.service(details)
            if handler is None:  # names that clients make up are not kept
                return None
            self._made[method] = _lenient(handler)
        return self._made[method]


def _lenient(handler: Any) -> Any:
    read = _reader(handler.request_deserializer)
    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(_stream(handler.stream_stream), read, handler.response_serializer)
    return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary), read, handler.response_serializer)


def _reader(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def reader(content: bytes) -> Any:
        try:
            return read(content)
        except DecodeError as error:
            return _Unreadable(str(error))

    return reader


def _unary(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    async def answered(request: Any, context: Any) -> Any:
        if isinstance(request, _Unreadable):
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.why)
        return await answer(request, context)

    return answered


def _stream(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    async def answered(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async def readable() -> AsyncIterator[Any]:
            async for request in requests:
                if isinstance(request, _Unreadable):
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.why)
                yield request

        async for response in answer(readable(), context):
            yield response

    return answered
