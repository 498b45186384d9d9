"""What a client can send that is wrong: one line that names it, and a server that answers the next request."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.grpc")

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from deployment.serving.http_body import HEADER_LENGTH
from tests.deployment.serving.conftest import Running, serving, times, write_bundle

INFER = "/v2/models/double/infer"
ROW = struct.pack("<4f", 1, 2, 3, 4)
GOOD = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


def post(running: Running, path: str, body: bytes, headers: Mapping[str, str | bytes] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(running.http, timeout=20)
    connection.request("POST", path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found[0], json.loads(found[1]) if found[1] else None


def asked(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


@pytest.fixture(autouse=True)
def still_answers(doubling: Running) -> Any:
    yield
    status, answer = post(doubling, INFER, asked(GOOD))
    assert status == 200 and answer["outputs"][0]["data"] == [2, 4, 6, 8]


JSON_CASES = {
    "no JSON": (b"hello", "no inference request"),
    "empty": (b"", "no inference request"),
    "no UTF-8": (b'{"inputs": "\xff"}', "no inference request"),
    "nested without end": (b'{"inputs":' + b"[" * 100_000, "no inference request"),
    "no inputs": (b"{}", "missing required field `inputs`"),
    "a shape of text": (asked({**GOOD, "shape": ["4"]}), "Expected `int`"),
    "missing input": (asked(), "input 'x': missing from the feed; expected: float32 [n, 4]"),
    "unknown input": (asked(GOOD, {**GOOD, "name": "größe"}), "the model has no input 'größe'"),
    "given twice": (asked(GOOD, GOOD), "input 'x': given twice"),
    "another dtype": (asked({**GOOD, "datatype": "INT64"}), "input 'x': got int64 [1, 4]; expected: float32 [n, 4]"),
    "another shape": (asked({**GOOD, "shape": [2, 2]}), "input 'x': got float32 [2, 2]; expected: float32 [n, 4]"),
    "strings": (asked({**GOOD, "datatype": "BYTES", "data": ["a"] * 4}), "BYTES (strings) are not served"),
    "no such type": (asked({**GOOD, "datatype": "FP99"}), "no such datatype: 'FP99'"),
    "texts for numbers": (asked({**GOOD, "data": ["1", "2", "3", "4"]}), "other values than the datatype has"),
    "nulls": (asked({**GOOD, "data": [None] * 4}), "other values than the datatype has"),
    "ragged": (asked({**GOOD, "data": [[1, 2], [3]]}), "no rectangular list"),
    "too few values": (asked({**GOOD, "data": [1, 2, 3]}), "3 values for shape [1, 4]; expected: 4"),
    "negative size": (asked({**GOOD, "shape": [-1, 4]}), "a negative size"),
    "huge shape": (asked({**GOOD, "shape": [2**62, 2**62]}), f"expected: {2**124}"),
    "huge shape of nothing": (asked({**GOOD, "shape": [0, 2**62, 2**62], "data": []}), "input 'x'"),
    "too many axes": (asked({**GOOD, "shape": [1] * 70}), "70 axes"),
    "no data": (asked({k: v for k, v in GOOD.items() if k != "data"}), "has no data"),
    "unknown output": (asked(GOOD, outputs=[{"name": "z"}]), "the model has no output 'z'; expected: one of y"),
    "shared memory": (
        asked({**GOOD, "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 16}}),
        "shared_memory_region is not served",
    ),
    "infinity as JSON": (asked({**GOOD, "data": [3e38] * 4}), "NaN or infinity"),
}


@pytest.mark.parametrize("case", JSON_CASES)
def test_json_that_does_not_fit(doubling: Running, case: str) -> None:
    body, words = JSON_CASES[case]
    status, answer = post(doubling, INFER, body)
    assert status == 400 and words in answer["error"] and "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("size", "tail", "length", "words"),
    [
        (16, ROW[:9], None, "binary_data_size is 16, and 9 bytes are left"),
        (8, ROW[:8], None, "8 bytes for FP32 [1, 4]; expected: 16 bytes"),
        (16, ROW + b"more", None, "4 bytes of the body belong to no input"),
        (10**18, ROW, None, "are left in the body"),
        (-1, ROW, None, "binary_data_size is -1"),
        ("16", ROW, None, "binary_data_size is '16'"),
        (16, ROW, "99999", "expected: 0 to"),
        (16, ROW, "-5", "expected: 0 to"),
        (16, ROW, "9" * 400, "expected: 0 to"),
    ],
)
def test_binary_tensors_that_do_not_fit(doubling: Running, size: Any, tail: bytes, length: Any, words: str) -> None:
    head = asked({"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}})
    headers = {HEADER_LENGTH: length or str(len(head))}
    status, answer = post(doubling, INFER, head + tail, headers)
    assert status == 400 and words in answer["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/other/infer", 404),
        ("/v2/models/double/versions/9/infer", 404),
        ("/v2/models/%00%2e%2e%2f/infer", 404),
        ("/v2/models//infer", 404),
        ("/v2/nothing", 405),
        ("/v2/repository/models/other/load", 404),
        ("/v2/repository/models/double/explode", 404),
        ("/v2/health/ready/now", 405),
    ],
)
def test_paths_that_are_none(doubling: Running, path: str, status: int) -> None:
    found, answer = post(doubling, path, b"")
    assert found == status and answer["error"]


def test_what_is_no_http_is_a_line_of_the_log_and_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with serving({"double": [write_bundle(tmp_path, times(2))]}, said=said.append) as running:
        said.clear()
        host, port = running.http.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"POST /v2/\xff HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"400 Bad Request" in connection.recv(1000)
        assert post(running, INFER, asked(GOOD), {"Content-Encoding": "br"})[0] == 400
    lines = [line for line in said if "400" in line]
    assert any("Invalid char in url path" in line for line in lines) and not any("\n" in line for line in lines)
    assert "Traceback" not in capfd.readouterr().err


def test_a_load_brings_no_files_of_its_own(doubling: Running) -> None:
    body = json.dumps({"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}}).encode()
    status, answer = post(doubling, "/v2/repository/models/double/load", body)
    assert status == 400 and "read again from its path" in answer["error"]


def test_a_packed_body_that_unfolds_beyond_the_limit_is_cut_off(doubling: Running) -> None:
    bomb = zlib.compress(b" " * (64 << 20), 9)
    status, answer = post(doubling, INFER, bomb, {"Content-Encoding": "deflate"})
    assert status == 413 and "larger than" in answer["error"]
    status, answer = post(doubling, INFER, b"no gzip at all", {"Content-Encoding": "gzip"})
    assert status == 400


def test_a_declared_size_is_believed_before_it_is_read(doubling: Running) -> None:
    connection = http.client.HTTPConnection(doubling.http, timeout=20)
    connection.putrequest("POST", INFER)
    connection.putheader("Content-Length", str(10**15))
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert doubling.server.state.gate.bytes == 0


def message(**changes: Any) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    request = pb.ModelInferRequest(model_name="double", inputs=[tensor], raw_input_contents=[ROW])
    for name, value in changes.items():
        if name in ("shape", "datatype", "name"):
            fresh = {"name": "x", "datatype": "FP32", "shape": [1, 4], name: value}
            request.inputs[0].CopyFrom(pb.ModelInferRequest.InferInputTensor(**fresh))
        elif name == "raw":
            del request.raw_input_contents[:]
            request.raw_input_contents.extend(value)
        else:
            setattr(request, name, value)
    return request


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"model_name": "other"}, "NOT_FOUND", "no model 'other'"),
        ({"model_version": "7"}, "NOT_FOUND", "no version '7'"),
        ({"raw": [ROW[:9]]}, "INVALID_ARGUMENT", "9 bytes for FP32 [1, 4]"),
        ({"raw": [ROW, ROW]}, "INVALID_ARGUMENT", "2 raw tensors for 1 inputs"),
        ({"raw": []}, "INVALID_ARGUMENT", "0 values for shape [1, 4]"),
        ({"shape": [2**60, 2**60]}, "INVALID_ARGUMENT", "16 bytes for FP32"),
        ({"shape": [-4, -1]}, "INVALID_ARGUMENT", "a negative size"),
        ({"datatype": "BYTES"}, "INVALID_ARGUMENT", "BYTES (strings) are not served"),
        ({"datatype": "INT32"}, "INVALID_ARGUMENT", "got int32 [1, 4]; expected: float32 [n, 4]"),
        ({"name": "ü"}, "INVALID_ARGUMENT", "the model has no input 'ü'; expected: x: float32 [n, 4]"),
    ],
)
def test_calls_that_do_not_fit(doubling: Running, changes: dict[str, Any], code: str, words: str) -> None:
    with grpc.insecure_channel(doubling.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(message(**changes), timeout=20)
        assert refused.value.code().name == code and words in refused.value.details()
        good = stub.ModelInfer(message(), timeout=20)
        assert np.frombuffer(good.raw_output_contents[0], np.float32).tolist() == [2, 4, 6, 8]


def test_a_message_beyond_the_limit_and_what_is_not_served(doubling: Running) -> None:
    limit = doubling.server.state.gate.limits.request_bytes
    with grpc.insecure_channel(doubling.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(message(raw=[b"\0" * (limit + (1 << 20))]), timeout=20)
        assert refused.value.code().name == "RESOURCE_EXHAUSTED"
        with pytest.raises(grpc.RpcError) as refused:
            stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(), timeout=20)
        assert refused.value.code().name == "UNIMPLEMENTED"


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_that_are_no_message_are_the_clients_fault(stream: bool, doubling: Running) -> None:
    """gRPC's library said UNKNOWN, and the name of a class."""
    with grpc.insecure_channel(doubling.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        if stream:
            call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            list(call(iter([b"\xff\xff\xff"]), timeout=10))
        else:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"\xff\xff\xff", timeout=10)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Error parsing message" in refused.value.details()
