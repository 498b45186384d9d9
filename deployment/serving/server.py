"""The server: both protocols over one repository of models, from its start to its end without a request lost."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from deployment.serving.access import Access
from deployment.serving.figures import Metrics
from deployment.serving.library_log import logger_to
from deployment.serving.limits import Gate, Limits
from deployment.serving.refusals import Refusal
from deployment.serving.repository import Repository
from deployment.serving.state import State
from deployment.serving.version import ServingOptions
from graphs.errors import BadInput
from graphs.optional_packages import optional

IDLE_SECONDS = 75.0
"""After which a connection on which nothing comes is closed, as nginx's ``keepalive_timeout`` is by default."""
LINGER_SECONDS = 2.0
"""For which the rest of a refused body is read, so that the client sees the answer. Chosen."""
STOP_SECONDS = 3 * LINGER_SECONDS
"""What ``Server.stop`` may take beyond the time to drain: for the last refusals, gRPC's end and the engines'."""
FRAME_BYTES = 1 << 14
"""Room in a gRPC message around its tensors: names, shapes, parameters. Chosen."""


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens; port 0 takes a free one. ``token`` empty asks for none."""

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    token: str = ""

    @property
    def loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def check(self) -> None:
        """Raises ``BadInput`` for a host that is none here, and a port that is taken: before models are loaded, and
        without what gRPC's library itself would write."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for option, port in (("--port", self.http_port), ("--grpc-port", self.grpc_port)):
            try:
                socket.create_server((self.host, port), family=family).close()
            except (OSError, OverflowError) as error:
                raise _not_listening(self, port, option, error) from error

    def __post_init__(self) -> None:
        if not self.host:
            raise BadInput("is empty", where="--host", expected="an address of this machine; 0.0.0.0 for all")
        if self.http_port and self.http_port == self.grpc_port:
            raise BadInput(f"both are {self.http_port}", where="--port, --grpc-port", fix="choose another one")

    def address(self, port: int) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def _not_listening(endpoint: Endpoint, port: int, option: str, error: Exception) -> BadInput:
    number = getattr(error, "errno", None) or 0
    why = os.strerror(number).lower() if number > 0 else getattr(error, "strerror", None) or str(error)
    where = f"{option} {port}" if number in (errno.EADDRINUSE, errno.EACCES, 0) else f"--host {endpoint.host}"
    return BadInput(f"cannot listen on {endpoint.address(port)}: {why}", where=where, fix="choose another one")


class Server:
    """Serves once ``start``ed; ``stop`` answers what has begun. ``http_port`` and ``grpc_port`` are those in use."""

    def __init__(
        self,
        bundles: Mapping[str, Sequence[Path]],
        options: ServingOptions,
        limits: Limits,
        endpoint: Endpoint,
        *,
        version: str,
        say: Callable[[str], None],
    ) -> None:
        for module, protocol in (("aiohttp", "HTTP"), ("grpc", "gRPC"), ("tritonclient.grpc", "gRPC")):
            optional(module, "serve", f"serving over {protocol}")
        self._endpoint, self._say = endpoint, say
        gate = Gate(limits)
        metrics = Metrics(gate)
        self.repository = Repository(bundles, options, metrics.recorder, say)
        self.state = State(gate, self.repository, metrics, version)
        self.http_port = self.grpc_port = 0

    async def start(self) -> None:
        """Load every model, then listen. Raises ``EnginewrightError`` for a bundle that cannot be served, ``BadInput``
        for a port that is taken."""
        self._endpoint.check()
        try:
            for name in self.repository.models:
                await self.repository.load(name)
            access = Access(self._endpoint.token)
            await self._start_http(access)
            await self._start_grpc(access)
        except BaseException:
            await self.repository.close()
            raise
        if not (self._endpoint.loopback or self._endpoint.token):
            self._say("warning: other machines reach this server, and it asks for no token (--token-file)")

    async def _start_http(self, access: Access) -> None:
        from aiohttp import web

        from deployment.serving.connections import limited
        from deployment.serving.http_server import HttpService

        service = HttpService(self.state, access)
        self._connections = web.Server(
            service,
            handler_cancellation=True,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            access_log=None,
            logger=logger_to(self._say),
        )
        factory = limited(self._connections, self.state.gate.limits.connections)
        host, port = self._endpoint.host, self._endpoint.http_port
        try:
            self._http = await asyncio.get_running_loop().create_server(factory, host, port, backlog=1024)
        except OSError as error:  # taken since it was looked at
            raise _not_listening(self._endpoint, port, "--port", error) from error
        self.http_port = self._http.sockets[0].getsockname()[1]

    async def _start_grpc(self, access: Access) -> None:
        from grpc import aio
        from tritonclient.grpc import service_pb2_grpc

        from deployment.serving.grpc_server import GrpcService
        from deployment.serving.unreadable import Lenient

        limits = self.state.gate.limits
        options = [
            ("grpc.max_receive_message_length", limits.request_bytes + FRAME_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else two servers share a port, and nobody is told
        ]
        self._grpc: Any = aio.server(options=options, maximum_concurrent_rpcs=limits.grpc_calls)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            GrpcService(self.state, access), Lenient(self._grpc)
        )
        port = self._endpoint.grpc_port
        try:
            self.grpc_port = self._grpc.add_insecure_port(self._endpoint.address(port))
        except RuntimeError as error:
            self._http.close()
            what = f"cannot listen on {self._endpoint.address(port)}"
            raise BadInput(what, where=f"--grpc-port {port}", fix="choose another one") from error
        await self._grpc.start()

    @property
    def addresses(self) -> tuple[str, str]:
        at = self._endpoint.address
        return f"http://{at(self.http_port)}", f"grpc://{at(self.grpc_port)}"

    async def stop(self, seconds: float) -> None:
        """Take no new request, answer those that have begun (for at most ``seconds``), and close everything.

        A request whose answer is not computed by then gets 503, whatever the engine is at; what a run in this process
        holds is given back with the process. All of it takes ``seconds`` and ``STOP_SECONDS`` at most.
        """
        gate = self.state.gate
        gate.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        await self._answered(seconds)
        if gate.requests:
            were = "1 request was" if gate.requests == 1 else f"{gate.requests} requests were"
            self._say(f"{were} not answered within {seconds:g} s: 503")
            self.repository.abandon(Refusal(503, f"the server stopped: no answer within {seconds:g} s", retry=True))
            await self._answered(LINGER_SECONDS)
        self._http.close()
        self._connections.pre_shutdown()
        await self._grpc.stop(LINGER_SECONDS if gate.requests else _LOOK_SECONDS)
        await self._connections.shutdown(timeout=_LOOK_SECONDS)
        try:
            await asyncio.wait_for(self.repository.close(), max(deadline - loop.time(), LINGER_SECONDS))
        except asyncio.TimeoutError:
            self._say("a bundle was being loaded: it is left half open")
        self.state.reader.shutdown(wait=False)

    async def _answered(self, seconds: float) -> None:
        """Wait until all requests are answered, for ``seconds`` at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.state.gate.requests and loop.time() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)


_LOOK_SECONDS = 0.05
"""How often a stopping server looks whether all is answered. Chosen."""
