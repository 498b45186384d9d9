"""Options of optimize deploy BUNDLE triton: what they become, and what is said of those that cannot be read."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from deployment.triton.repository.config import RateLimit
from deployment.triton.repository.containers import check_graph, check_plan, parse_container
from deployment.triton.repository.options import TritonOptions
from deployment.triton.server.files import find_server
from deployment.triton.tuning.search import Goal
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from graphs.errors import BadInput
from optimizer.verbs.deploy.triton.checking import CheckRequest
from optimizer.verbs.deploy.triton.deploy import deploy_triton
from optimizer.verbs.deploy.triton.options import (
    check_request,
    functions_around,
    parse_milliseconds,
    parse_rate_limit,
    tune_request,
)
from tests.deployment.serving.conftest import times, write_bundle


def plan(version: str, **options: str) -> EngineManifest:
    return EngineManifest(
        "t4", "tensorrt", version, (7, 5), "engine.plan", "", 0, "int8", ShapeProfile({}), (), (), options=options
    )


def test_times_and_limits_are_read() -> None:
    assert [parse_milliseconds(text) for text in ("20ms", "0.5 s", "800us", "7", "")] == [20, 500, 0.8, 7, None]
    assert parse_rate_limit("memory=2,bus=1:3") == RateLimit({"memory": 2, "bus": 1}, 3)
    assert parse_rate_limit("") is None
    request = tune_request("latency", "20ms", 8, 30.0)
    assert request is not None
    assert (request.goal, request.latency_bound_ms, request.clients) == (Goal.LATENCY, 20.0, 8)
    assert check_request(True, "", "", "") == CheckRequest()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: parse_milliseconds("soon"), "is no time"),
        (lambda: parse_rate_limit("memory"), "cannot be read"),
        (lambda: tune_request("speed", "", 16, 60.0), "speed"),
        (lambda: tune_request("latency", "", 0, 60.0), "clients"),
        (lambda: parse_container("19.01"), "is not listed here"),
        (lambda: parse_container("25.13"), "is no Triton container"),
        (lambda: parse_container("newest"), "is no Triton container"),
        (lambda: TritonOptions(backend="tensorflow"), "is no backend"),
        (lambda: TritonOptions(instances=0), "is 0"),
        (lambda: TritonOptions(max_batch=-1), "--max-batch: is -1"),
        (lambda: TritonOptions(instances=10**11), "--instances: is 100000000000"),
        (lambda: TritonOptions(version=2**63), "9,223,372,036,854,775,807 at most"),
        (lambda: parse_rate_limit("a=1,a=2"), "names a resource twice"),
        (lambda: parse_rate_limit("a=1:99999999999"), "is too much"),
        (lambda: find_server("no-such-server"), "no program to run"),
    ],
)
def test_what_cannot_be_read_is_named(call: Callable[[], object], words: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert words in str(error.value)


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tritonclient.grpc")
    from deployment.triton.server.control import ServerControl

    with pytest.raises(BadInput, match="no server answers"):
        ServerControl("127.0.0.1:9").version()
    with pytest.raises(BadInput, match="no bundle with engines"):
        deploy_triton(tmp_path, tmp_path / "out", name="net", check=CheckRequest("127.0.0.1:9"))


def test_what_was_written_goes_where_it_cannot_be_checked_as_asked(tmp_path: Path) -> None:
    """The command put right would find it in its way. What was there before stays."""
    pytest.importorskip("tritonclient.grpc")
    made = write_bundle(tmp_path / "net", times(2))
    asked = CheckRequest("127.0.0.1:9")
    with pytest.raises(BadInput, match="no server answers"):
        deploy_triton(made, tmp_path / "out", name="net", check=asked)
    assert not (tmp_path / "out").exists()
    deploy_triton(made, tmp_path / "out", name="net")
    with pytest.raises(BadInput, match="no server answers"):
        deploy_triton(made, tmp_path / "out", name="net", check=asked)
    with pytest.raises(BadInput, match="no server answers"):
        deploy_triton(made, tmp_path / "out", name="net", options=TritonOptions(version=2), check=asked)
    assert sorted(path.name for path in (tmp_path / "out/net").iterdir()) == ["1", "config.pbtxt"]


@pytest.mark.parametrize(
    ("version", "container", "fits"),
    [
        ("10.0.1.6", "24.05", True),
        ("10.0.1", "24.05", True),
        ("10.1.0.27", "24.05", False),
        ("8.6.1.6", "23.05", False),  # which has 8.6.1.2
        ("10.14.1.48", "26.04=10.14.1.48", True),
    ],
)
def test_a_plan_runs_on_the_tensorrt_that_built_it(version: str, container: str, fits: bool) -> None:
    if fits:
        check_plan(plan(version), parse_container(container), "engine.plan")
        return
    with pytest.raises(BadInput, match=f"is TensorRT {version}'s") as error:
        check_plan(plan(version), parse_container(container), "engine.plan")
    assert "deploy for --triton" in error.value.fix


@pytest.mark.parametrize(
    ("opset", "container", "fits"),
    [
        (20, "24.04", True),
        (21, "24.05", True),
        (21, "26.04=10.14.1.48", True),
        (21, "24.04", False),
        (21, "23.04", False),
    ],
)
def test_a_graph_runs_on_an_onnx_runtime_that_knows_its_opset(
    opset: int, container: str, fits: bool, tmp_path: Path
) -> None:
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> g (float[n] x) => (float[n] y) {{ y = Neg (x) }}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    if fits:
        check_graph(tmp_path / "model.onnx", parse_container(container))
        return
    with pytest.raises(BadInput, match=r"has ONNX Runtime (before )?1\.17\.3"):
        check_graph(tmp_path / "model.onnx", parse_container(container))


def test_a_version_compatible_plan_runs_on_later_ones_of_its_major_version() -> None:
    compatible = plan("10.0.1.6", version_compatible="on")
    check_plan(compatible, parse_container("25.01"), "engine.plan")
    for older in ("24.04", "23.10"):
        with pytest.raises(BadInput):
            check_plan(compatible, parse_container(older), "engine.plan")


def test_what_the_table_says_can_be_overruled() -> None:
    with pytest.raises(BadInput) as error:
        check_plan(plan("10.13.2"), parse_container("24.05"), "engine.plan")
    assert "give it: --triton 24.05=VERSION" in error.value.fix and "'tensorrt==10.0.1.*'" in error.value.fix
    with pytest.raises(BadInput) as error:
        check_plan(plan("10.13.2"), parse_container("24.05=10.0.2"), "engine.plan")
    assert "=VERSION" not in error.value.fix
    check_plan(plan("10.13.2"), parse_container("24.05=10.13.2"), "engine.plan")


@pytest.mark.parametrize(
    ("container", "told"),
    [
        ("24.04", "as seen in that image"),
        ("24.05", "by NVIDIA's release notes"),  # an issue that tells of its image writes 10.0.6.1
        ("25.06", "by NVIDIA's release notes"),
        ("23.07", "by our table, in which this release is not confirmed"),
        ("23.07=8.5.0.1", "as given"),
    ],
)
def test_a_refusal_says_how_a_containers_tensorrt_is_known(container: str, told: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f"({told})")):
        check_plan(plan("10.14.1"), parse_container(container), "engine.plan")


@pytest.mark.parametrize("release", ["25.07", "27.01"])
def test_a_release_that_is_not_listed_is_refused_for_plans_alone(release: str) -> None:
    container = parse_container(release)
    assert container.image == f"nvcr.io/nvidia/tritonserver:{release}-py3"
    with pytest.raises(BadInput, match="is not listed here") as error:
        check_plan(plan("10.14.1"), container, "engine.plan")
    assert f"--triton {release}=VERSION" in error.value.fix
    check_plan(plan("10.14.1"), parse_container(f"{release}=10.14.1"), "engine.plan")


def test_raw_samples_are_arrays_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", pixels=np.ones((2, 3)))
    around = functions_around("f.py:g", "", [tmp_path / "good.npz"])
    assert around is not None and around.raw["pixels"].shape == (2, 3)
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("one.npy", "damaged.npz", "none.npz"):
        with pytest.raises(BadInput, match=name):
            functions_around("f.py:g", "", [tmp_path / name])


def test_without_a_client_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(BadInput, match="needs tritonclient"):
        deploy_triton(tmp_path, tmp_path / "out", name="net", check=CheckRequest())
