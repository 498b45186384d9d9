"""A bound on HTTP's connections: each holds buffers, whatever it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from deployment.serving.refusals import RETRY_SECONDS

_TEXT = b'{"error":"too many connections"}'
_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(_TEXT)}\r\n"
    f"Retry-After: {RETRY_SECONDS}\r\nConnection: close\r\n\r\n"
).encode() + _TEXT


class _Refuse(asyncio.Protocol):
    """Says no to a connection once it asks for something (closed before, the client would see no answer but a reset),
    and closes it; after a second in any case."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._patience = asyncio.get_running_loop().call_later(RETRY_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_FULL)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()


def limited(server: web.Server, most: int) -> Callable[[], asyncio.BaseProtocol]:
    """Makes the protocol of each new connection: ``server``'s, or a refusal where it has ``most`` of them."""

    def connect() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < most else _Refuse()

    return connect
