"""The protocol as its own clients speak it: tritonclient over HTTP and gRPC, and the engine of ours that is one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.grpc")

import numpy as np
import tritonclient.grpc
import tritonclient.http

from deployment.serving.version import ServingOptions
from engines.feeds.batching import Batching
from engines.kserve import KserveEngine
from engines.open import open_engine
from tests.deployment.serving.conftest import HEAD, Running, serving, times, write_bundle

X = np.arange(8, dtype=np.float32).reshape(2, 4)
KINDS = ("float64", "float16", "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
WHOLE = (
    HEAD
    + """g (float[n] x, int64[] k) => (float[n] plus, float[] total) {
    f = Cast<to = 1>(k) plus = Add(x, f) total = ReduceSum<keepdims = 0>(plus) }"""
)
ONNX_NAMES = {"float64": "double"}


@pytest.fixture(params=["http", "grpc"])
def library(request: pytest.FixtureRequest) -> Any:
    return tritonclient.http if request.param == "http" else tritonclient.grpc


def connect(library: Any, running: Running) -> Any:
    return library.InferenceServerClient(running.http if library is tritonclient.http else running.grpc)


def tensor(library: Any, name: str, array: np.ndarray[Any, Any], **how: bool) -> Any:
    made = library.InferInput(name, list(array.shape), tritonclient.utils.np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, **how)
    return made


def test_health_metadata_and_configuration(library: Any, doubling: Running) -> None:
    client = connect(library, doubling)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("double")
    assert not client.is_model_ready("other")
    json = {} if library is tritonclient.http else {"as_json": True}
    server = client.get_server_metadata(**json)
    assert server["name"] == "enginewright" and "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata("double", **json)
    (version,) = model["versions"]
    assert client.is_model_ready("double", version) and not client.is_model_ready("double", "1")
    assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 4] and model["inputs"][0]["datatype"] == "FP32"
    config = client.get_model_config("double", **json)
    config = config.get("config", config)
    assert config["max_batch_size"] == 32 and config["input"][0]["data_type"] == "TYPE_FP32"
    assert [int(size) for size in config["input"][0]["dims"]] == [4]


def test_an_answer_is_the_engines(library: Any, doubling: Running) -> None:
    answer = connect(library, doubling).infer("double", [tensor(library, "x", X)], request_id="größe/1")
    np.testing.assert_array_equal(answer.as_numpy("y"), 2 * X)
    head = answer.get_response()
    given = head if isinstance(head, dict) else {"id": head.id, "model_version": head.model_version}
    assert given["id"] == "größe/1" and len(given["model_version"]) == 12


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_json_and_binary_both_ways(doubling: Running, binary_in: bool, binary_out: bool, packed: str | None) -> None:
    client = connect(tritonclient.http, doubling)
    wanted = [tritonclient.http.InferRequestedOutput("y", binary_data=binary_out)]
    inputs = [tensor(tritonclient.http, "x", X, binary_data=binary_in)]
    answer = client.infer("double", inputs, outputs=wanted, request_compression_algorithm=packed)
    np.testing.assert_array_equal(answer.as_numpy("y"), 2 * X)


@pytest.fixture(scope="module")
def of_kinds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model per tensor type, which gives back what it gets; and one of several outputs, of no batch."""
    folder = tmp_path_factory.mktemp("kinds")
    bundles = {}
    for kind in KINDS:
        onnx_name = ONNX_NAMES.get(kind, kind)
        text = HEAD + f"g ({onnx_name}[n, 3] x) => ({onnx_name}[n, 3] y) {{ y = Identity(x) }}"
        bundles[kind] = [write_bundle(folder / kind, text)]
    bundles["whole"] = [write_bundle(folder / "whole", WHOLE, Batching())]
    with serving(bundles) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_goes_through(library: Any, of_kinds: Running, kind: str) -> None:
    client = connect(library, of_kinds)
    for rows in (2, 0):  # no rows are a tensor, too
        values = np.arange(rows * 3).reshape(rows, 3).astype(kind)
        np.testing.assert_array_equal(client.infer(kind, [tensor(library, "x", values)]).as_numpy("y"), values)
        if library is tritonclient.http and kind != "float16":  # its client has no JSON for half precision
            inputs = [tensor(library, "x", values, binary_data=False)]
            wanted = [library.InferRequestedOutput("y", binary_data=False)]
            np.testing.assert_array_equal(client.infer(kind, inputs, outputs=wanted).as_numpy("y"), values)


def test_what_has_no_batch_runs_alone_and_outputs_are_chosen(library: Any, of_kinds: Running) -> None:
    client = connect(library, of_kinds)
    inputs = [tensor(library, "x", X[0]), tensor(library, "k", np.array(3))]
    assert client.infer("whole", inputs).as_numpy("total") == X[0].sum() + 12
    answer = client.infer("whole", inputs, outputs=[library.InferRequestedOutput("plus")])
    np.testing.assert_array_equal(answer.as_numpy("plus"), X[0] + 3)
    assert answer.as_numpy("total") is None


def test_our_own_client_gives_what_the_engine_gives(doubling: Running, of_kinds: Running, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", times(2))
    with KserveEngine.open(f"grpc://{doubling.grpc}/double") as remote, open_engine(bundle / "engines/cpu") as direct:
        np.testing.assert_array_equal(remote.infer({"x": X})["y"], direct.infer({"x": X})["y"])
    for protocol, address in (("grpc", of_kinds.grpc), ("http", of_kinds.http)):
        with KserveEngine.open(f"{protocol}://{address}/whole") as remote:
            total = remote.infer({"x": X[0], "k": np.array(3)})["total"]
            assert (total, total.shape) == (X[0].sum() + 12, ())


def test_a_stream_answers_in_order_and_survives_a_refusal(doubling: Running) -> None:
    client = connect(tritonclient.grpc, doubling)
    found: list[Any] = []
    client.start_stream(lambda result, error: found.append(error or float(result.as_numpy("y")[0, 0])))
    for value in (1.0, 2.0):
        client.async_stream_infer("double", [tensor(tritonclient.grpc, "x", np.full((1, 4), value, np.float32))])
    client.async_stream_infer("double", [tensor(tritonclient.grpc, "x", np.zeros((1, 3), np.float32))])
    client.async_stream_infer("double", [tensor(tritonclient.grpc, "x", np.full((1, 4), 3.0, np.float32))])
    client.stop_stream()
    assert [found[0], found[1], found[3]] == [2.0, 4.0, 6.0]
    assert "got float32 [1, 3]" in str(found[2])


def test_statistics_count_requests_and_rows(library: Any, tmp_path: Path) -> None:
    with serving({"m": [write_bundle(tmp_path / "b", times(2))]}) as running:
        client = connect(library, running)
        for _ in range(3):
            client.infer("m", [tensor(library, "x", X)])
        json = {} if library is tritonclient.http else {"as_json": True}
        (row,) = client.get_inference_statistics("m", **json)["model_stats"]
        assert int(row["inference_count"]) == 6 and int(row["execution_count"]) == 3
        assert int(row["inference_stats"]["success"]["count"]) == 3


def test_the_metrics_page_has_what_happened(doubling: Running) -> None:
    import urllib.request

    connect(tritonclient.http, doubling).infer("double", [tensor(tritonclient.http, "x", X)])
    page = urllib.request.urlopen(f"http://{doubling.http}/metrics").read().decode()
    assert 'inference_requests_total{code="200",protocol="http"}' in page
    assert 'inference_compute_seconds_count{model="double"' in page


def test_two_versions_of_a_name_answer_side_by_side(library: Any, tmp_path: Path) -> None:
    bundles = [write_bundle(tmp_path / str(factor), times(factor)) for factor in (2, 3)]
    with serving({"m": bundles}) as running:
        client = connect(library, running)
        json = {} if library is tritonclient.http else {"as_json": True}
        first, last = client.get_model_metadata("m", **json)["versions"]
        for version, factor in ((first, 2), (last, 3), ("", 3)):
            answer = client.infer("m", [tensor(library, "x", X)], model_version=version)
            np.testing.assert_array_equal(answer.as_numpy("y"), factor * X)


def test_a_model_may_be_called_as_paths_of_the_protocol_are(library: Any, tmp_path: Path) -> None:
    names = ["stats", "ready", "config", "versions", "my net (ü)"]
    bundle = write_bundle(tmp_path / "m", times(2))
    with serving({name: [bundle] for name in names}) as running:
        client = connect(library, running)
        json = {} if library is tritonclient.http else {"as_json": True}
        for name in names:
            assert client.is_model_ready(name) and client.get_model_metadata(name, **json)["name"] == name
            assert client.infer(name, [tensor(library, "x", X)]).as_numpy("y").shape == X.shape


def test_an_engine_in_a_process_of_its_own_gives_the_same(library: Any, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", times(2))
    with serving({"m": [bundle]}, ServingOptions(isolate=True)) as running:
        client = connect(library, running)

        def crash() -> None:
            """Between two requests, of which neither hears."""
            engine: Any = running.server.repository.get("m")._engines[0]
            engine._engine._child.process.kill()
            engine._engine._child.process.wait()

        def answer() -> Any:
            return client.infer("m", [tensor(library, "x", X)]).as_numpy("y")

        np.testing.assert_array_equal(answer(), 2 * X)
        crash()
        np.testing.assert_array_equal(answer(), 2 * X)
        shutil.rmtree(bundle)
        write_bundle(bundle, times(3))
        np.testing.assert_array_equal(answer(), 2 * X, "until it is asked to load it")
        crash()
        with pytest.raises(tritonclient.utils.InferenceServerException, match="another bundle has taken its place"):
            answer()
        client.load_model("m")
        np.testing.assert_array_equal(answer(), 3 * X)
