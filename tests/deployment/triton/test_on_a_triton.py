"""A repository of ours on a real tritonserver, that of the wheel nvidia-pytriton: one server for all of these tests."""

from __future__ import annotations

import os
import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.samples.library import save_samples
from benchmarks.serving.closed_loop import closed_loop
from deployment.kubernetes.workload import PENDING
from deployment.served_engine import read_served_engines
from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.options import PYTHON, TritonOptions
from deployment.triton.repository.write import write_triton_repository
from deployment.triton.server.check import check_answers, check_together
from deployment.triton.server.control import ServerControl
from deployment.triton.server.files import INSTALL, find_server
from deployment.triton.server.local_server import local_server
from deployment.triton.server.served import served_engine
from engines.engine import EngineBase, TensorSpec
from engines.errors import EngineError
from engines.kserve import KserveEngine
from engines.manifest import EngineManifest
from engines.open import open_engine
from engines.profile import ShapeProfile, ShapeRange
from graphs.errors import BadInput
from graphs.storage.model_files import files_digest
from optimizer.verbs.deploy.triton.checking import CheckRequest
from optimizer.verbs.deploy.triton.deploy import deploy_triton
from optimizer.verbs.deploy.triton.text import triton_lines
from tests.deployment.triton.real_server import has_server

pytest.importorskip("tritonclient.grpc")
pytestmark = pytest.mark.skipif(not has_server(), reason=f"needs a tritonserver: {INSTALL}")

GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
rows (float[n, 2] x, int64[n] first) => (float[n, 2] y, bool[n] high)
    <float[2, 2] w = {1, 2, 3, 4}, int64[1] one = {1}, float ten = {10}, float[3, 2] table = {0, 0, 1, 1, 2, 2}> {
  product = MatMul (x, w)
  row = Gather (table, first)
  y = Add (product, row)
  total = ReduceSum <keepdims = 0> (y, one)
  high = Greater (total, ten)
}
"""
INPUTS = (TensorSpec("x", "float32", ("n", 2), batch=True), TensorSpec("first", "int64", ("n",), batch=True))
OUTPUTS = (TensorSpec("y", "float32", ("n", 2), batch=True), TensorSpec("high", "bool", ("n",), batch=True))
PROFILE = ShapeProfile({"x": ShapeRange((1, 2), (4, 2), (8, 2)), "first": ShapeRange((1,), (4,), (8,))})
STATEFUL = """
<ir_version: 9, opset_import: ["" : 17]>
step (float[1, 2] frame, float[1, 1, 2] state, int64 rate) => (float[1, 1, 2] next, float level) {
  factor = Cast <to = 1> (rate)
  scaled = Mul (frame, factor)
  next = Add (state, scaled)
  level = ReduceSum <keepdims = 0> (next)
}
"""
STATEFUL_INPUTS = (
    TensorSpec("frame", "float32", (1, 2)),
    TensorSpec("state", "float32", (1, 1, 2)),
    TensorSpec("rate", "int64", ()),
)
STATEFUL_OUTPUTS = (TensorSpec("next", "float32", (1, 1, 2)), TensorSpec("level", "float32", ()))
FUNCTIONS = """
import numpy as np

def halved(feed):
    assert feed["rate"].shape == ()
    return {**feed, "frame": feed["frame"] / 2}

def scale(feed):
    return {"x": feed["pixels"].astype(np.float32) / 32, "first": feed["row"].astype(np.int64)}

def best(outputs):
    return {"best": outputs["y"].argmax(1).astype(np.int32), "score": outputs["y"].max(1, keepdims=True)}

def spelled(feed):
    sizes = np.array([len(word) for word in feed["word"][:, 0]])
    return {"x": np.stack([sizes, sizes], 1).astype(np.float32) / 4, "first": sizes % 3}

def named(outputs):
    return {"name": np.array([["high" if high else "low"] for high in outputs["high"]])}

def fails(feed):
    return {"x": feed["pixels"].astype(np.float32)}

def mixes(outputs):
    return {"best": outputs["y"].max(axis=0)}
"""
RNG = np.random.default_rng(7)
FEEDS = [
    {"x": RNG.standard_normal((size, 2)).astype(np.float32) * 9, "first": RNG.integers(0, 3, size)}
    for size in (1, 1, 1, 1, 1, 1, 3, 8)
]


def written(
    folder: Path, graph: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], profile: ShapeProfile
) -> Path:
    """A bundle of one engine for the CPU."""
    engine = folder / "engines" / "cpu"
    engine.mkdir(parents=True)
    onnx.save(onnx.parser.parse_model(graph), engine / "model.onnx")
    shutil.copy(engine / "model.onnx", folder / "model.onnx")
    EngineManifest(
        target="cpu",
        backend="onnxruntime",
        backend_version="1.20",
        compute_capability=None,
        file="model.onnx",
        file_digest=files_digest([engine / "model.onnx"]),
        bytes=(engine / "model.onnx").stat().st_size,
        precision="fp32",
        profile=profile,
        inputs=inputs,
        outputs=outputs,
    ).save(engine)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("triton") / "rows.optimized", GRAPH, INPUTS, OUTPUTS, PROFILE)


@pytest.fixture(scope="module")
def stateful(bundle: Path) -> Path:
    folder = bundle.parent / "step.optimized"
    return written(folder, STATEFUL, STATEFUL_INPUTS, STATEFUL_OUTPUTS, ShapeProfile({}))


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Iterator[EngineBase]:
    with open_engine(bundle / "engines" / "cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def server(bundle: Path, stateful: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerControl]:
    repository = tmp_path_factory.mktemp("repository")
    write_triton_repository(bundle, repository, name="rows", options=TritonOptions(backend=PYTHON))
    write_triton_repository(bundle, repository, name="native")  # for the backend that this server lacks
    write_triton_repository(bundle, repository, name="broken", options=TritonOptions(backend=PYTHON))
    write_triton_repository(
        bundle, repository, name="pixels", options=TritonOptions(backend=PYTHON), around=around(bundle)
    )
    write_triton_repository(
        stateful, repository, name="step", options=TritonOptions(backend=PYTHON), around=halving(stateful)
    )
    write_triton_repository(
        bundle, repository, name="words", options=TritonOptions(backend=PYTHON), around=spelling(bundle)
    )
    (repository / "broken" / "1" / "engine" / "model.onnx").write_bytes(b"no graph")
    mark = f"test{os.getpid()}"  # other workers have servers, too
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(secrets, "token_hex", lambda _: mark)
        with local_server(find_server(), repository) as control:
            assert list(Path("/dev/shm").glob(f"optimize_{mark}_*"))
            yield control
    with pytest.raises(BadInput, match="no server answers"):
        ServerControl(control.grpc).version()
    assert not list(Path("/dev/shm").glob(f"optimize_{mark}_*"))


def around(bundle: Path, before: str = "scale", after: str = "best") -> Around:
    file = bundle.parent / "functions.py"
    file.write_text(FUNCTIONS)
    raw = {"pixels": np.arange(10, dtype=np.uint8).reshape(5, 2), "row": np.arange(5, dtype=np.uint8)[:, None] % 3}
    return Around(f"{file}:{before}", f"{file}:{after}", {**raw, "row": raw["row"][:, 0]})


def halving(bundle: Path) -> Around:
    file = bundle.parent / "halving.py"
    file.write_text(FUNCTIONS)
    raw = {"frame": np.ones((1, 2), np.float32), "state": np.ones((1, 1, 2), np.float32), "rate": np.array(3)}
    return Around(f"{file}:halved", "", raw)


def test_scalars_and_a_state_that_clients_carry(server: ServerControl, stateful: Path, tmp_path: Path) -> None:
    *_, ensemble = write_triton_repository(
        stateful, tmp_path, name="step", options=TritonOptions(backend=PYTHON), around=halving(stateful)
    )
    assert ensemble.pipeline is not None
    server.check_loaded("step")
    with open_engine(stateful / "engines" / "cpu") as engine:
        for name, own in (("step_model", engine), ("step", ensemble.pipeline.around(engine))):
            feeds = [{**ensemble.pipeline.raw, "rate": np.array(rate)} for rate in (1, 5)]
            for protocol, address in (("grpc", server.grpc), ("http", server.http)):
                with served_engine(address, name, own, 0, protocol) as served:  # type: ignore[arg-type]
                    found = check_answers(own, served, feeds, protocol)
                    assert found.equal == 2, found.text
                    assert served.infer(feeds[0])["level"].shape == ()


def spelling(bundle: Path) -> Around:
    around(bundle)
    file = bundle.parent / "functions.py"
    return Around(f"{file}:spelled", f"{file}:named", {"word": np.array([["a"], ["seventeen"]])})


def test_text_goes_through_functions_or_is_refused_when_they_are_loaded(
    server: ServerControl, engine: EngineBase, bundle: Path, tmp_path: Path
) -> None:
    *_, ensemble = write_triton_repository(
        bundle, tmp_path, name="words", options=TritonOptions(backend=PYTHON), around=spelling(bundle)
    )
    assert ensemble.pipeline is not None
    own, raw = ensemble.pipeline.around(engine), ensemble.pipeline.raw
    assert own.infer(raw)["name"].tolist() == [[b"low"], [b"high"]]
    if not np.__version__.startswith("1."):  # this server's backend ends at text with numpy 2
        with pytest.raises(EngineError, match="'word' holds text: with this Triton that needs numpy below 2"):
            server.check_loaded("words_preprocess")
        return
    with served_engine(server.grpc, "words", own, 8) as served:
        found = check_answers(own, served, [raw], "gRPC")
        assert found.equal == 1, found.text


def test_functions_of_the_users_run_before_and_after_the_engine(
    server: ServerControl, engine: EngineBase, bundle: Path, tmp_path: Path
) -> None:
    *parts, ensemble = write_triton_repository(
        bundle, tmp_path, name="pixels", options=TritonOptions(backend=PYTHON), around=around(bundle)
    )
    assert [model.config.name for model in parts] == ["pixels_model", "pixels_preprocess", "pixels_postprocess"]
    assert ensemble.pipeline is not None
    own, raw = ensemble.pipeline.around(engine), ensemble.pipeline.raw
    assert own.infer(raw)["best"].dtype == np.int32
    server.check_loaded("pixels")
    with served_engine(server.grpc, "pixels", own, 8) as served:
        one = {name: array[:1] for name, array in raw.items()}
        found = check_answers(own, served, [one, raw], "gRPC")
        assert found.equal == 2, found.text
    for before, after, words in (("fails", "best", "input 'first': missing"), ("scale", "mixes", "for 1 sample")):
        with pytest.raises(BadInput) as error:
            write_triton_repository(bundle, tmp_path / "no", name="pixels", around=around(bundle, before, after))
        assert words in str(error.value)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_answers_are_the_engines_own_bit_for_bit(server: ServerControl, engine: EngineBase, protocol: str) -> None:
    address = server.grpc if protocol == "grpc" else server.http
    with served_engine(address, "rows", engine, 8, protocol) as served:  # type: ignore[arg-type]
        found = check_answers(engine, served, FEEDS, protocol)
        assert (found.equal, found.ok) == (len(FEEDS), True), found.text
        twenty = {"x": np.ones((20, 2), np.float32), "first": np.arange(20) % 3}  # more than Triton's largest batch
        assert check_answers(engine, served, [twenty], protocol).equal == 1


def test_requests_at_once_are_joined_and_answered_apart(server: ServerControl, engine: EngineBase) -> None:
    def served() -> EngineBase:
        return served_engine(server.grpc, "rows", engine, 8)

    assert check_together(engine, served, FEEDS * 2, "gRPC").ok
    load = closed_loop(served, FEEDS[:1], clients=8, seconds=0.5)
    assert load.requests > 0 and load.failed == 0 and load.latency_ms is not None
    assert load.latency_ms.p50 < load.latency_ms.p99
    assert max(server.executions("rows")) > 1


def test_a_wrong_answer_is_found(server: ServerControl, engine: EngineBase) -> None:
    class Off(EngineBase):
        _inputs, _outputs = engine.inputs, engine.outputs

        def infer(self, feed):  # type: ignore[no-untyped-def]
            return {name: array * 3 if name == "y" else array for name, array in engine.infer(feed).items()}

        def close(self) -> None: ...

    found = check_answers(engine, Off(), FEEDS, "gRPC")
    assert not found.ok and found.equal < len(FEEDS)


def test_a_request_that_fails_takes_no_other_with_it(server: ServerControl, engine: EngineBase) -> None:
    with served_engine(server.grpc, "rows", engine, 8) as served:
        with pytest.raises(EngineError, match="Gather: indices"):
            served.infer({"x": np.ones((1, 2), np.float32), "first": np.full(1, 99)})
        assert check_answers(engine, served, FEEDS[:2], "gRPC").ok


def test_a_model_that_does_not_load_says_why(server: ServerControl) -> None:
    server.check_loaded("rows")
    with pytest.raises(EngineError, match=r"damaged") as error:
        server.check_loaded("broken")
    assert "\n" not in error.value.what
    with pytest.raises(EngineError, match="onnxruntime"):
        server.check_loaded("native")
    with pytest.raises(EngineError, match="not in the server's repository"):
        server.check_loaded("other")
    with pytest.raises(BadInput, match="check the model's name"):
        KserveEngine(server.http, "other", protocol="http")


def test_a_server_that_runs_already_is_checked(server: ServerControl, bundle: Path, tmp_path: Path) -> None:
    options, check = TritonOptions(backend=PYTHON), CheckRequest(server.grpc, seconds=0.2)
    found = deploy_triton(bundle, tmp_path / "same", name="rows", options=options, check=check)
    assert found.ok and found.server
    [checked] = found.checks
    assert checked.found is not None
    assert [loads.batch for loads in checked.found.loads] == [1, 8]
    assert 0 < checked.found.loads[0].ratio < 2
    text = "\n".join(triton_lines(found))
    assert "every answer equal to the engine's, bit for bit" in text and "the engine itself" in text
    other = deploy_triton(bundle, tmp_path / "other", name="elsewhere", options=options, check=check)
    assert not other.ok
    assert "FAIL: model 'elsewhere': is not in the server's repository" in "\n".join(triton_lines(other))


def test_the_gauge_that_pods_are_scaled_by_is_there(server: ServerControl) -> None:
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as page:
        assert f'{PENDING}{{model="rows",version="1"}} 0' in page.read().decode()


def test_loadgen_is_a_client(server: ServerControl, engine: EngineBase, tmp_path: Path) -> None:
    with KserveEngine(server.grpc, "rows") as remote:
        specs = remote.inputs
    feeds = [{"x": feed["x"], "first": feed["first"][:, None]} for feed in FEEDS[:6]]  # as Triton asks for [n]
    samples = save_samples(feeds, specs, tmp_path / "samples")
    settings = LoadgenSettings(Scenario.OFFLINE, duration_s=0.5, workers=4, max_batch=4)
    result = run_loadgen(LoadgenRequest(f"grpc://{server.grpc}/rows", samples, settings, str(tmp_path / "log")))
    assert result.valid, result.reasons
    assert result.failed == 0


def test_the_bundles_engine_is_what_is_served(bundle: Path) -> None:
    assert [engine.largest_batch for engine in read_served_engines(bundle)] == [8]
