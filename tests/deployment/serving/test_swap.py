"""One version takes another's place: no request lost, none answered by half of each."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.grpc")

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from deployment.serving import server, version
from deployment.serving.version import ServingOptions
from graphs.errors import BadInput
from tests.deployment.serving.conftest import HEAD, Running, serving, times, write_bundle
from tests.deployment.serving.test_wrong_requests import asked, post

INTEGERS = HEAD + "g (int64[n, 4] x) => (int64[n, 4] y) { y = Identity(x) }"


def exchange(bundle: Path, new: Path) -> None:
    """Put ``new`` where ``bundle`` is, as the main job does: by renaming."""
    old = bundle.with_name("old")
    bundle.rename(old)
    new.rename(bundle)
    shutil.rmtree(old)


def ask_until(running: Running, library: Any, stop: threading.Event, seen: list[tuple[str, float]]) -> None:
    client = library.InferenceServerClient(running.http if library is tritonclient.http else running.grpc)
    value = np.random.default_rng(0).random((3, 4), np.float32) + 1
    tensor = library.InferInput("x", [3, 4], "FP32")
    tensor.set_data_from_numpy(value)
    while not stop.is_set():
        try:
            answer = client.infer("m", [tensor])
        except InferenceServerException as error:
            seen.append((str(error), 0.0))
            continue
        factors = set((answer.as_numpy("y") / value).ravel().round(3).tolist())
        head = answer.get_response()
        version = head["model_version"] if isinstance(head, dict) else head.model_version
        seen.append((version, factors.pop() if len(factors) == 1 else -1.0))


def test_requests_during_a_swap_are_all_answered_each_by_one_version(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "m", times(2))
    with serving({"m": [bundle]}, ServingOptions(threads=1, instances=2)) as running:
        stop, seen = threading.Event(), list[tuple[str, float]]()
        libraries = [tritonclient.http, tritonclient.grpc] * 3
        clients = [threading.Thread(target=ask_until, args=(running, lib, stop, seen)) for lib in libraries]
        for client in clients:
            client.start()
        for factor in (3, 4):
            time.sleep(0.3)
            exchange(bundle, write_bundle(tmp_path / "new", times(factor)))
            assert post(running, "/v2/repository/models/m/load", b"") == (200, {})
        time.sleep(0.3)
        stop.set()
        for client in clients:
            client.join()
        versions = {version: {factor for v, factor in seen if v == version} for version, _ in seen}
    assert sorted(map(tuple, versions.values())) == [(2.0,), (3.0,), (4.0,)], versions


def test_a_bundle_that_cannot_be_served_changes_nothing(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "m", times(2))
    with serving({"m": [bundle]}) as running:
        engine = bundle / "engines" / "cpu" / "model.onnx"
        engine.write_bytes(engine.read_bytes()[:-1] + b"!")
        (bundle / "engines/cpu/engine.json").write_text((bundle / "engines/cpu/engine.json").read_text() + " ")
        status, answer = post(running, "/v2/repository/models/m/load", b"")
        assert status == 400 and "changed since it was built" in answer["error"]
        described = write_bundle(bundle, times(3)) / "engines/cpu/engine.json"
        described.write_text(described.read_text().replace('"name": "y"', '"name": "z"'))
        status, answer = post(running, "/v2/repository/models/m/load", b"")
        assert status == 400 and "inputs and outputs are not the graph's: 'y', 'z'" in answer["error"]
        shutil.rmtree(bundle)
        assert post(running, "/v2/repository/models/m/load", b"")[0] == 400
        body = asked({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]})
        assert post(running, "/v2/models/m/infer", body)[1]["outputs"][0]["data"] == [2, 2, 2, 2]


def test_a_bundle_that_changes_while_it_is_opened_is_not_served_under_the_wrong_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "m", times(2))
    body = asked({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]})
    with serving({"m": [bundle]}) as running:
        exchange(bundle, write_bundle(tmp_path / "new", times(3)))
        last, opened = write_bundle(tmp_path / "last", times(4)), version._open

        def opened_then_exchanged(*given: Any) -> Any:
            engine = opened(*given)
            exchange(bundle, last)
            return engine

        monkeypatch.setattr(version, "_open", opened_then_exchanged)
        status, answer = post(running, "/v2/repository/models/m/load", b"")
        assert status == 400 and "changed while it was opened" in answer["error"]
        assert post(running, "/v2/models/m/infer", body)[1]["outputs"][0]["data"] == [2, 2, 2, 2]
        monkeypatch.undo()
        assert post(running, "/v2/repository/models/m/load", b"")[0] == 200
        assert post(running, "/v2/models/m/infer", body)[1]["outputs"][0]["data"] == [4, 4, 4, 4]


def test_a_bundle_that_clients_do_not_fit_is_told_of(tmp_path: Path) -> None:
    said: list[str] = []
    bundle = write_bundle(tmp_path / "m", times(2))
    with serving({"m": [bundle]}, said=said.append) as running:
        for graph, warned in ((times(3), 0), (times(4).replace("[n, 4] x", "[rows, 4] x"), 0), (INTEGERS, 1)):
            exchange(bundle, write_bundle(tmp_path / "new", graph))
            assert post(running, "/v2/repository/models/m/load", b"")[0] == 200
            assert sum("other inputs or outputs than before" in line for line in said) == warned
    with serving({"m": [bundle, write_bundle(tmp_path / "other", times(2))]}, said=said.append):
        assert "the versions of model 'm' differ in inputs or outputs" in said[-1]


def test_equal_bundles_of_a_name_are_one_version_that_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (write_bundle(tmp_path / str(factor), times(factor)) for factor in (2, 3))
    shutil.copytree(first, tmp_path / "again")
    opened, really = list[Path](), version._open

    def counted(served: Any, *given: Any) -> Any:
        opened.append(served.folder.parent.parent)
        return really(served, *given)

    monkeypatch.setattr(version, "_open", counted)
    body = asked({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]})
    with serving({"m": [first, other, tmp_path / "again"]}) as running:
        assert opened == [first, other]
        assert post(running, "/v2/models/m/infer", body)[1]["outputs"][0]["data"] == [2, 2, 2, 2]  # the last one's


@pytest.mark.parametrize("library", [tritonclient.http, tritonclient.grpc])
def test_a_model_is_unloaded_and_loaded_by_the_clients_calls(tmp_path: Path, library: Any) -> None:
    bundles = {name: [write_bundle(tmp_path / name, times(2))] for name in ("m", "n")}
    with serving(bundles) as running:
        client = library.InferenceServerClient(running.http if library is tritonclient.http else running.grpc)
        client.unload_model("m")
        assert not client.is_model_ready("m") and not client.is_server_ready() and client.is_model_ready("n")
        tensor = library.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        with pytest.raises(InferenceServerException, match="not ready: unloaded"):
            client.infer("m", [tensor])
        index = client.get_model_repository_index()
        rows = index if isinstance(index, list) else index.models
        states = [row["state"] if isinstance(row, dict) else row.state for row in rows]
        assert sorted(states) == ["READY", "UNAVAILABLE"]
        client.load_model("m")
        assert client.is_server_ready() and client.infer("m", [tensor]).as_numpy("y")[0, 0] == 2


def test_stopping_answers_what_has_begun_and_refuses_what_comes(tmp_path: Path) -> None:
    from tests.deployment.serving.test_limits import slow_graph

    row = asked({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]})
    with serving({"slow": [write_bundle(tmp_path / "s", slow_graph())]}, ServingOptions(max_batch=1)) as running:
        found: list[int] = []
        asking = [
            threading.Thread(target=lambda: found.append(post(running, "/v2/models/slow/infer", row)[0]))
            for _ in range(4)
        ]
        for thread in asking:
            thread.start()
        while running.server.state.gate.requests < 4:
            time.sleep(0.001)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        while not running.server.state.gate.draining:
            time.sleep(0.001)
        assert post(running, "/v2/models/slow/infer", row)[0] == 503
        for thread in asking:
            thread.join()
        stopping.join()
        assert found == [200] * 4


@pytest.mark.parametrize("isolate", [False, True])
def test_what_is_not_answered_in_time_is_told_so_whatever_the_engine_is_at(isolate: bool, tmp_path: Path) -> None:
    """One request computes for seconds, another waits behind it: both get 503, and the server ends."""
    from tests.deployment.serving.test_limits import slow_graph

    graph = slow_graph().replace("600", "20000")
    options, said, found = ServingOptions(max_batch=1, isolate=isolate, threads=1), list[str](), dict[str, Any]()

    def over_http() -> None:
        row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}
        found["http"] = post(running, "/v2/models/slow/infer", asked(row))

    def over_grpc() -> None:
        client = tritonclient.grpc.InferenceServerClient(running.grpc)
        tensor = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        with pytest.raises(InferenceServerException) as error:
            client.infer("slow", [tensor])
        found["grpc"] = error.value.status(), error.value.message()

    with serving({"slow": [write_bundle(tmp_path / "s", graph, None)]}, options, said=said.append) as running:
        asking = [threading.Thread(target=work) for work in (over_http, over_grpc)]
        for thread in asking:
            thread.start()
        while running.server.state.gate.requests < 2:
            time.sleep(0.001)
        running.stop(0.2)
        for thread in asking:
            thread.join()
    assert found["http"][0] == 503 and "no answer within 0.2 s" in found["http"][1]["error"]
    assert found["grpc"][0] == "StatusCode.UNAVAILABLE" and "no answer within 0.2 s" in found["grpc"][1]
    assert "2 requests were not answered within 0.2 s: 503" in said


def test_the_time_to_drain_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not answered takes all of it; nothing is left for a bundle that is being loaded."""
    from tests.deployment.serving.test_limits import slow_graph

    waited, wait_for = list[float | None](), asyncio.wait_for

    def noting(work: Any, timeout: float | None) -> Any:
        waited.append(timeout)
        return wait_for(work, timeout)

    monkeypatch.setattr(server, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(asyncio, "wait_for", noting)
    bundle = write_bundle(tmp_path / "s", slow_graph().replace("600", "20000"), None)
    row = asked({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]})
    with serving({"slow": [bundle]}, ServingOptions(max_batch=1, isolate=True, threads=1)) as running:
        asking = threading.Thread(target=lambda: post(running, "/v2/models/slow/infer", row))
        asking.start()
        while running.server.state.gate.requests < 1:
            time.sleep(0.001)
        lock = running.server.repository.models["slow"].lock  # held while a bundle is loaded
        asyncio.run_coroutine_threadsafe(lock.acquire(), running.loop).result(5)
        running.stop(0.5)
        assert waited[-1] == server.LINGER_SECONDS, "what was left for the bundle"
        running.loop.call_soon_threadsafe(lock.release)
        asking.join()


def test_what_cannot_be_served_is_said_before_anything_listens(tmp_path: Path) -> None:
    strings = HEAD + "g (string[n] x) => (string[n] y) { y = Identity(x) }"
    with (
        pytest.raises(BadInput, match="holds object, which is not served"),
        serving({"s": [write_bundle(tmp_path, strings)]}),
    ):
        pass
    with pytest.raises(BadInput, match="no bundle with engines"), serving({"s": [tmp_path / "none"]}):
        pass
    taken = write_bundle(tmp_path / "t", times(2))
    with serving({"t": [taken]}) as running:
        from deployment.serving import server

        other = server.Endpoint(http_port=running.server.http_port, grpc_port=0)
        with pytest.raises(BadInput, match="cannot listen"):
            _start(taken, other)
        other = server.Endpoint(http_port=0, grpc_port=running.server.grpc_port)
        with pytest.raises(BadInput, match="cannot listen"):
            _start(taken, other)


def _start(bundle: Path, endpoint: Any) -> None:
    import asyncio

    from deployment.serving.limits import Limits
    from deployment.serving.server import Server

    async def start() -> None:
        await Server({"t": [bundle]}, ServingOptions(), Limits(), endpoint, version="0", say=lambda _: None).start()

    asyncio.run(start())
