"""Addresses that are none, those at which something else than a server of the Open Inference Protocol answers, and
servers that do not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tritonclient.http")

from engines.errors import EngineError
from engines.kserve import KserveEngine
from engines.source import open_source
from graphs.errors import BadInput
from tests.benchmarks.loadgen.engines_for_tests import onnxruntime_engine
from tests.benchmarks.loadgen.kserve_server import Servicer, serving


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """The address of a model on a web server that answers every GET with the same page, and nothing else."""
    with ExitStack() as stack:

        def start(page: bytes) -> str:
            class Page(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(page)))
                    self.end_headers()
                    self.wfile.write(page)

                def do_POST(self) -> None:
                    ended.wait(5)

                def log_message(self, *_: object) -> None: ...

            ended = Event()
            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Page))
            stack.callback(server.shutdown)
            stack.callback(ended.set)
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}/model"

        yield start


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize("rest", ["127.0.0.1/model", ":8000/model", "127.0.0.1:many/model", "127.0.0.1:99999/model"])
def test_an_address_without_a_host_or_a_port_is_told(scheme: str, rest: str) -> None:
    with pytest.raises(BadInput, match="names no model on a server"):
        open_source(f"{scheme}://{rest}")


@pytest.mark.parametrize(
    "page", [b"<html>hello</html>", b'{"status": "ok"}', b"[1]", b'{"inputs": [{}], "outputs": 3}']
)
def test_a_server_of_another_kind_is_told_as_one(page: bytes, answering: Callable[[bytes], str]) -> None:
    with pytest.raises(BadInput, match="not a server of the Open Inference Protocol"):
        open_source(answering(page))


def test_so_is_the_port_for_grpc_of_one_that_is() -> None:
    with serving(Servicer(onnxruntime_engine())) as address, pytest.raises(BadInput, match="not a server of"):
        open_source(address.replace("grpc://", "http://"))


def test_an_answer_that_does_not_come_in_time_is_told_with_the_time(answering: Callable[[bytes], str]) -> None:
    silent = Event()

    class Silent(Servicer):
        def ModelInfer(self, request: Any, context: Any) -> Any:
            silent.wait(5)

    told = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}], "outputs": []}'
    with serving(Silent(onnxruntime_engine())) as grpc:
        for protocol, source in (("grpc", grpc), ("http", answering(told))):
            address, _, model = source.partition("://")[2].partition("/")
            late = pytest.raises(EngineError, match=r"no answer within 0.3 s")
            with KserveEngine(address, model, protocol=protocol, timeout=0.3) as engine, late:  # type: ignore[arg-type]
                engine.infer({"x": np.zeros((1, 16), np.float32)})
        silent.set()
