"""A real server in a thread of the test's own process, on free ports of the loopback, with engines of tiny graphs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from deployment.serving.limits import Limits
from deployment.serving.server import Endpoint, Server
from deployment.serving.version import ServingOptions
from engines.build import BuildRequest, build_engine
from engines.feeds.batching import Batching
from engines.profile import ShapeProfile
from engines.targets.target import CPU

HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
ROWS = Batching(("x",), ("y",))


def times(factor: float) -> str:
    """A graph of rows: ``y = factor * x``."""
    return HEAD + f"g (float[n, 4] x) => (float[n, 4] y) <float f = {{{factor}}}> {{ y = Mul(x, f) }}"


def write_bundle(folder: Path, text: str, batching: Batching | None = ROWS) -> Path:
    """A bundle's engine for the CPU, which is all that serving reads."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")
    request = BuildRequest(
        folder / "model.onnx", CPU, ShapeProfile({}), folder / "engines" / "cpu", "fp32", batching=batching
    )
    build_engine(request, cache=False)
    return folder


class Running:
    """A server that runs in ``loop``, in another thread."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self.loop = server, loop
        self.http, self.grpc = (f"127.0.0.1:{port}" for port in (server.http_port, server.grpc_port))

    def stop(self, seconds: float = 5.0) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(seconds), self.loop).result(30)


@contextmanager
def serving(
    bundles: dict[str, Sequence[Path]],
    options: ServingOptions | None = None,
    limits: Limits | None = None,
    token: str = "",
    said: Callable[[str], None] = lambda _: None,
) -> Iterator[Running]:
    """Serve until the context is left; the test is skipped where the extra is not installed."""
    for package in ("aiohttp", "tritonclient", "prometheus_client"):
        pytest.importorskip(package)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:

        async def start() -> Server:
            server = Server(
                bundles,
                options or ServingOptions(threads=1),
                limits or Limits(),
                Endpoint(http_port=0, grpc_port=0, token=token),
                version="0",
                say=said,
            )
            await server.start()
            return server

        running = Running(asyncio.run_coroutine_threadsafe(start(), loop).result(60), loop)
        try:
            yield running
        finally:
            running.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """``double`` doubles rows of four numbers."""
    bundle = write_bundle(tmp_path_factory.mktemp("double"), times(2))
    with serving({"double": [bundle]}) as running:
        yield running
