"""More than the server takes on is refused at once and honestly, and what it holds stays bounded."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.grpc")

import grpc
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from deployment.serving.limits import MIB, Limits
from deployment.serving.version import ServingOptions
from graphs.errors import BadInput
from tests.deployment.serving.conftest import HEAD, Running, serving, times, write_bundle
from tests.deployment.serving.test_wrong_requests import INFER, asked, message, post

ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
TIGHT = Limits(requests=4, request_bytes=MIB, memory_bytes=2 * MIB, connections=12, client_seconds=1.0)


def slow_graph() -> str:
    """Some 20 ms a run: a long loop of products."""
    return (
        HEAD
        + """g (float[n, 4] x) => (float[n, 4] y)
        <int64 count = {600}, bool go = {1}, float zero = {0.0}, int64[2] big = {120, 120}>
        {
            filled = ConstantOfShape(big)
            kept, done = Loop(count, go, filled) <body = b (int64 i, bool c, float[120, 120] v)
                => (bool k, float[120, 120] w, float s) {
                    k = Identity(c) w = MatMul(v, v) s = ReduceMax<keepdims = 0>(w) }>
            last = ReduceMax<keepdims = 0>(done)
            nothing = Mul(last, zero)
            y = Add(x, nothing)
        }"""
    )


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tight")
    bundles = {"double": [write_bundle(folder / "d", times(2))], "slow": [write_bundle(folder / "s", slow_graph())]}
    with serving(bundles, ServingOptions(threads=1, max_batch=1), TIGHT) as running:
        yield running


def test_a_flood_is_refused_with_429_and_the_server_recovers(tight: Running) -> None:
    found: Counter[int] = Counter()
    waits: set[str | None] = set()
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(tight.http, timeout=30)
        for _ in range(5):
            connection.request("POST", "/v2/models/slow/infer", asked(ROW))
            answer = connection.getresponse()
            answer.read()
            with lock:
                found[answer.status] += 1
                if answer.status == 429:
                    waits.add(answer.getheader("Retry-After"))
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(10)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert found[200] > 0 and found[429] > 0 and sum(found.values()) == found[200] + found[429] == 50
    assert waits == {"1"}
    gate = tight.server.state.gate
    assert (gate.requests, gate.bytes) == (0, 0)
    assert post(tight, INFER, asked(ROW))[0] == 200


def test_calls_beyond_what_grpc_may_read_are_refused(tight: Running) -> None:
    with grpc.insecure_channel(tight.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer.future(message(model_name="slow"), timeout=30) for _ in range(12)]
        codes = Counter(call.code().name for call in calls)
    assert codes["OK"] > 0 and codes["RESOURCE_EXHAUSTED"] > 0 and len(codes) == 2


def test_bodies_together_take_no_more_than_the_limit(tight: Running) -> None:
    """Three clients declare nearly 1 MiB each, of which two fit in 2 MiB, and send nothing."""
    size = MIB - 10
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    opened = [socket.create_connection(tight.http.split(":"), timeout=10) for _ in range(3)]  # type: ignore[arg-type]
    for connection in opened:
        connection.sendall(head)
        time.sleep(0.05)
    answers = [connection.recv(4096).split(b" ", 2)[1] for connection in reversed(opened)]
    assert answers == [b"429", b"408", b"408"]  # the two that hold memory and send nothing are told to go
    for connection in opened:
        connection.close()
    assert tight.server.state.gate.bytes == 0


def test_connections_beyond_the_limit_are_told_so(tight: Running) -> None:
    address: Any = tuple(tight.http.split(":"))
    opened = [socket.create_connection(address, timeout=10) for _ in range(TIGHT.connections)]
    time.sleep(0.2)
    assert post(tight, INFER, asked(ROW))[0] == 503
    for connection in opened:
        connection.close()
    time.sleep(0.2)
    assert post(tight, INFER, asked(ROW))[0] == 200


def test_a_client_that_leaves_frees_its_place(tight: Running) -> None:
    address: Any = tuple(tight.http.split(":"))
    body = asked(ROW)
    for _ in range(TIGHT.requests * 2):
        connection = socket.create_connection(address, timeout=10)
        head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.close()
        time.sleep(0.02)
    deadline = time.monotonic() + 5
    while tight.server.state.gate.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tight.server.state.gate.requests == 0


def test_a_token_is_asked_of_everything_but_probes(tmp_path: Path) -> None:
    with serving({"double": [write_bundle(tmp_path / "b", times(2))]}, token="geheim") as running:
        good = {"Authorization": "Bearer geheim"}
        assert post(running, INFER, asked(ROW))[0] == 401
        assert post(running, INFER, asked(ROW), {"Authorization": "Bearer geheimnis"})[0] == 401
        assert post(running, INFER, asked(ROW), {"Authorization": b"Bearer \xff"})[0] == 401
        assert post(running, INFER, asked(ROW), good)[0] == 200
        assert post(running, "/v2/repository/models/double/unload", b"")[0] == 401
        connection = http.client.HTTPConnection(running.http, timeout=10)
        for path, status in (("/v2/health/ready", 200), ("/v2/models/double/ready", 200), ("/metrics", 401)):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status, path
        with grpc.insecure_channel(running.grpc) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                stub.ModelInfer(message(), timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            answer = stub.ModelInfer(message(), timeout=10, metadata=[("authorization", "Bearer geheim")])
            assert np.frombuffer(answer.raw_output_contents[0], np.float32)[0] == 2


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(BadInput, match="is no limit"):
        Limits(requests=0)
    with pytest.raises(BadInput, match="all together 1"):
        Limits(request_bytes=2 * MIB, memory_bytes=MIB)
