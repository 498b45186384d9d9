"""A fleet on a real Ray of this machine, whose nodes claim to have GPUs; a worker is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest

from deployment.fleet import ray_cluster
from deployment.fleet.building_there import Refused
from deployment.fleet.ray_cluster import RayCluster
from engines.build import BuildRequest
from engines.errors import BuildError, BuildFailure
from engines.profile import ShapeProfile
from engines.targets.target import resolve_targets
from engines.user_code import RAISED
from graphs.errors import BadInput
from optimizer.settings.job import Settings
from optimizer.verbs.fleet import Fleet, run_fleet
from tests.end_to_end.conftest import cnn

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    resources = {"accelerator_type:T4": 1.0, "accelerator_type:A100": 1.0}
    ray.init(
        num_cpus=2,
        num_gpus=0,
        resources=resources,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=100 << 20,
        logging_level="ERROR",
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Two that differ in weights, with data under their names."""
    found = []
    for number, name in enumerate(("first", "second")):
        model = cnn()
        for tensor in model.graph.initializer:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * (1 + number), tensor.name)
            )
        found.append(tmp_path / f"{name}.onnx")
        onnx.save(model, found[-1])
        rng = np.random.default_rng(number)
        (tmp_path / "data" / name).mkdir(parents=True)
        np.savez(tmp_path / "data" / name / "a.npz", input=rng.standard_normal((32, 3, 16, 16)).astype(np.float32))
    return found


def settings(folder: Path, *targets: str) -> Settings:
    return Settings(targets=targets, data=str(folder / "data" / "{model}"), loadgen=())


def kill_a_builder() -> threading.Thread:
    """Kill the first worker that is seen with a build, once."""

    def work() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    title = (process / "cmdline").read_bytes()
                except OSError:
                    continue
                if title.startswith(b"ray::build "):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
                    return
            time.sleep(0.02)

    killed: list[int] = []
    thread = threading.Thread(target=work, daemon=True)
    thread.killed = killed  # type: ignore[attr-defined]
    thread.start()
    return thread


@pytest.mark.slow
def test_a_fleet_is_complete_though_a_worker_is_killed(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(tmp_path / "there"))
    wanted = settings(tmp_path, "t4", "a100")
    killer = kill_a_builder()
    there = run_fleet(models, wanted, tmp_path / "there.fleet", ray="local")
    killer.join(1)
    assert killer.killed, "no build was seen"  # type: ignore[attr-defined]
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(tmp_path / "here"))
    here = run_fleet(models, wanted, tmp_path / "here.fleet")
    assert _told(there) == _told(here) and there.exit_code == 0
    for name in ("first", "second"):
        bundles = [tmp_path / f"{place}.fleet" / f"{name}.optimized" for place in ("there", "here")]
        for file in ("model.onnx", "precision.json", "calibration.json"):
            assert len({(bundle / file).read_bytes() for bundle in bundles}) == 1, file
        for target in ("t4", "a100"):
            sizes = [(bundle / "engines" / target / "engine.plan").stat().st_size for bundle in bundles]
            assert max(sizes) <= 1.05 * min(sizes)
    assert json.loads((tmp_path / "there.fleet" / "fleet.json").read_text())["cluster"] == "local"


def _told(fleet: Fleet) -> list[tuple[str, str, dict[str, str]]]:
    return [(row.model, row.status, row.engines) for row in fleet.models]


def test_a_gpu_that_no_node_has_is_refused_at_once(models: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no node can build for h100"):
        run_fleet(models, settings(tmp_path, "h100", "t4"), tmp_path / "out", ray="local")
    assert not (tmp_path / "out").exists()


def test_a_connection_of_the_callers_stays() -> None:
    with RayCluster("local"):
        pass
    assert ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(BadInput, match="no Ray cluster"), RayCluster(address):
        pass


@pytest.mark.parametrize(("address", "shown"), [("127.0.0.1:1", "token"), ("local", None)])
def test_a_token_that_ray_keeps_is_shown_to_a_cluster_that_is_there(
    address: str, shown: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    RayCluster(address)
    assert "RAY_AUTH_MODE" not in os.environ  # there is none
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    RayCluster(address)
    assert os.environ.get("RAY_AUTH_MODE") == shown
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    RayCluster(address)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_what_a_worker_raises_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ValueError("the disk is full")

    monkeypatch.setattr(ray_cluster, "build_there", full)
    onnx.save(cnn(), tmp_path / "net.onnx")
    (target,) = resolve_targets(["l4"], None)
    request = BuildRequest(tmp_path / "net.onnx", target, ShapeProfile({}), tmp_path / "engine", "fp32")
    with (
        RayCluster("local") as cluster,
        pytest.raises(BuildError, match=r"could not do it: ValueError: the disk is full"),
    ):
        cluster.build(request)
    assert not (tmp_path / "engine").exists()


def _request(folder: Path, **options: float) -> BuildRequest:
    onnx.save(cnn(), folder / "net.onnx")
    (target,) = resolve_targets(["a100"], None)
    return BuildRequest(folder / "net.onnx", target, ShapeProfile({}), folder / "engine", "fp32", **options)


def test_waiting_for_a_node_is_no_part_of_a_builds_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*_: object) -> Refused:
        return Refused(BuildFailure.SHAPE, "its turn came", "", "", "")

    monkeypatch.setattr(ray_cluster, "build_there", told)
    busy = ray.remote(lambda: time.sleep(2)).options(resources={"accelerator_type:A100": 1.0}).remote()
    with RayCluster("local") as cluster, pytest.raises(BuildError, match="its turn came"):
        cluster.build(_request(tmp_path, time_limit_s=0.5))
    ray.get(busy)


def test_a_build_whose_only_node_is_gone_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "build_there", lambda *_: time.sleep(60))
    monkeypatch.setattr(ray_cluster, "LOST_S", 0.5)
    with RayCluster("local") as cluster:
        offered = iter([["CPU", "accelerator_type:A100"]])
        monkeypatch.setattr(cluster, "_offered", lambda: next(offered, ["CPU"]))
        with pytest.raises(BuildError, match=r"no node of the cluster has accelerator_type:A100"):
            cluster.build(_request(tmp_path))


@pytest.mark.parametrize("early", [False, True])
def test_a_command_that_is_terminated_leaves_nothing_of_ray(early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """``early``: while Ray starts, whose own handler ends the program."""
    order: list[str] = []

    def start(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
        if early:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", start)

    def shut_down() -> None:
        if not early:
            signal.raise_signal(signal.SIGTERM)  # a second one
        order.append("shut down")

    monkeypatch.setattr(ray, "shutdown", shut_down)
    before = signal.signal(signal.SIGTERM, lambda *_: order.append("ended"))
    try:
        with pytest.raises(SystemExit if early else KeyboardInterrupt), RayCluster("local"):
            with suppress(*RAISED):  # as around a user's metric
                signal.raise_signal(signal.SIGTERM)
            order.append("not reached")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert order == ["shut down", "ended"]
