"""Addresses that are none, and those at which something else than a server of the Open Inference Protocol answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

pytest.importorskip("tritonclient.http")

from engines.source import open_source
from graphs.errors import BadInput
from tests.benchmarks.loadgen.engines_for_tests import onnxruntime_engine
from tests.benchmarks.loadgen.kserve_server import Servicer, serving


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """The address of a model on a web server that answers everything with the same page."""
    with ExitStack() as stack:

        def start(page: bytes) -> str:
            class Page(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(page)))
                    self.end_headers()
                    self.wfile.write(page)

                def log_message(self, *_: object) -> None: ...

            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Page))
            stack.callback(server.shutdown)
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
