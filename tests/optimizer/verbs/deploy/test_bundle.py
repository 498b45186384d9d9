"""optimize deploy: what is written for each serving system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployment.triton.repository.containers import CONTAINERS
from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.models import ModelFolder
from deployment.triton.repository.options import TritonOptions
from graphs.errors import BadInput
from optimizer.bundle import Bundle
from optimizer.verbs.deploy import bundle as deploy
from optimizer.verbs.deploy import kubernetes
from optimizer.verbs.deploy.kubernetes import ClusterOptions
from optimizer.verbs.deploy.triton import deploy as triton


class Found(Bundle):
    """A bundle of these targets, whatever the folder holds."""

    def __post_init__(self) -> None: ...

    def targets(self) -> list[str]:
        return ["cpu", "t4"]

    def check_intact(self, *patterns: str) -> None: ...


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, dict[str, Any]]]:
    calls: list[tuple[Path, dict[str, Any]]] = []

    def write(bundle: Path, out: Path, **options: Any) -> list[ModelFolder]:
        calls.append((out, options))
        out.mkdir(parents=True)
        return []

    monkeypatch.setattr(deploy, "Bundle", Found)
    for module in (kubernetes, triton):
        monkeypatch.setattr(module, "write_triton_repository", write)
    return calls


def test_triton_gets_the_repository_itself(tmp_path: Path, written: list[tuple[Path, dict[str, Any]]]) -> None:
    deploy.deploy_bundle(tmp_path / "Net_2.optimized", "triton", tmp_path / "out")
    assert written == [(tmp_path / "out", {"name": "Net_2", "targets": ("cpu", "t4"), "options": None, "around": None})]


@pytest.mark.parametrize(("targets", "gpu"), [((), True), (("t4",), True), (("cpu",), False)])
def test_kserve_gets_repository_and_service(targets: tuple[str, ...], gpu: bool, tmp_path: Path) -> None:
    deployed = deploy.deploy_bundle(
        tmp_path / "Net_2.optimized",
        "kserve",
        tmp_path / "out",
        targets=targets,
        cluster=ClusterOptions("pvc://models/net"),
        triton=TritonOptions(container=CONTAINERS["25.06"]),
    )
    text = deployed.files[-1].read_text()
    assert (tmp_path / "out" / "repository").is_dir()
    assert "name: net-2" in text and '"pvc://models/net"' in text
    assert 'runtimeVersion: "25.06-py3"' in text  # a plan runs in one TensorRT's only
    assert ("nvidia.com/gpu" in text) is gpu


@pytest.mark.parametrize(
    "wrong", [{"namespace": "A b"}, {"gpu_product": "NVIDIA A100"}, {"storage_uri": "pvc://models/../x"}]
)
def test_what_kubernetes_would_refuse_is_told_here(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=f"--{next(iter(wrong)).replace('_', '-')}: "):
        ClusterOptions(**wrong)


@pytest.mark.parametrize("option", [{"gpu_resource": "nvidia.com/gpu"}, {"gpu_product": "NVIDIA-A100"}])
def test_no_gpu_is_taken_for_engines_that_use_none(option: dict[str, str], tmp_path: Path) -> None:
    cluster = ClusterOptions("pvc://models/net", **option)
    with pytest.raises(BadInput, match=f"--{next(iter(option)).replace('_', '-')}: no engine is for a GPU"):
        deploy.deploy_bundle(tmp_path / "net", "kserve", tmp_path / "out", targets=("cpu",), cluster=cluster)


def test_pods_are_not_scaled_by_what_their_server_does_not_tell(tmp_path: Path) -> None:
    old = TritonOptions(container=CONTAINERS["23.05"])
    with pytest.raises(BadInput, match=r"--triton: Triton 23.05 has no gauge .*\n.*23.12 or later\n.*--replicas 4:4"):
        deploy.deploy_bundle(
            tmp_path / "net", "kubernetes", tmp_path / "no", triton=old, cluster=ClusterOptions("pvc://models/net")
        )
    fixed = ClusterOptions("pvc://models/net", replicas="2")
    deployed = deploy.deploy_bundle(tmp_path / "net", "kubernetes", tmp_path / "out", triton=old, cluster=fixed)
    assert "maxReplicas: 2" in deployed.files[2].read_text()


def test_a_servers_image_has_what_runs_the_engine(tmp_path: Path) -> None:
    """NVIDIA's has Triton's own backends, and not this package."""
    python = TritonOptions(container=CONTAINERS["25.06"], backend="python")
    deployed = deploy.deploy_bundle(tmp_path / "net", "docker", tmp_path / "image", triton=python)
    assert "pip install --no-cache-dir 'enginewright" in deployed.files[-1].read_text()
    for system in ("kubernetes", "kserve"):
        cluster = ClusterOptions("pvc://models/net")
        with pytest.raises(BadInput, match="NVIDIA's image has no enginewright"):
            deploy.deploy_bundle(tmp_path / "net", system, tmp_path / "out", triton=python, cluster=cluster)


def test_nothing_but_an_image_goes_into_the_first_line_of_a_dockerfile(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--image: .* is no image"):
        deploy.deploy_bundle(tmp_path / "net", "docker", tmp_path / "o", cluster=ClusterOptions(image="x\nRUN evil"))
    assert not (tmp_path / "o").exists()


def test_functions_around_a_model_go_into_its_image_and_what_runs_them(
    tmp_path: Path, written: list[tuple[Path, dict[str, Any]]]
) -> None:
    options, around = TritonOptions(container=CONTAINERS["25.06"]), Around("f.py:before", "", {})
    deployed = deploy.deploy_bundle(tmp_path / "net", "docker", tmp_path / "image", triton=options, around=around)
    assert "pip install --no-cache-dir 'enginewright" in deployed.files[-1].read_text()
    pods = ClusterOptions(image="r.io/net:1")
    deploy.deploy_bundle(tmp_path / "net", "kubernetes", tmp_path / "pods", triton=options, cluster=pods, around=around)
    assert [given["around"] for _, given in written] == [around, around]
    pods = ClusterOptions("pvc://models/net")
    with pytest.raises(BadInput, match="--preprocess: NVIDIA's image has no enginewright"):
        deploy.deploy_bundle(
            tmp_path / "net", "kubernetes", tmp_path / "no", triton=options, cluster=pods, around=around
        )


def test_what_is_missing_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="KServe must know where the models lie"):
        deploy.deploy_bundle(tmp_path / "net", "kserve", tmp_path / "out")
    with pytest.raises(BadInput, match="unknown serving system 'podman'"):
        deploy.deploy_bundle(tmp_path / "net", "podman", tmp_path / "out")
    around = Around("f.py:before", "", {})
    with pytest.raises(BadInput, match="around"):
        deploy.deploy_bundle(tmp_path / "net", "mig", tmp_path / "out", around=around)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("system", ["triton", "oci", "tensorrt8"])
def test_nothing_is_written_into_the_bundle_itself(system: str, tmp_path: Path) -> None:
    for inside in (tmp_path / "net", tmp_path / "net" / "engines"):
        with pytest.raises(BadInput, match="lies in the bundle itself"):
            deploy.deploy_bundle(tmp_path / "net", system, inside)


@pytest.mark.parametrize(
    ("system", "option", "words"),
    [
        ("card", {"around": Around("f.py:g", "", {})}, "around"),
        ("card", {"key": Path("key.pem")}, "key"),
        ("tensorrt8", {"name": "net"}, "name"),
        ("mig", {"targets": "cpu"}, "targets"),
        ("triton", {"cluster": ClusterOptions("pvc://models")}, "cluster"),
    ],
)
def test_an_option_that_a_system_has_not_is_refused(
    system: str, option: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=rf"deploy\({words}=…\): is not for {system}"):
        deploy.deploy_bundle(tmp_path / "net", system, tmp_path / "out", **option)


def test_targets_may_be_words_with_commas(tmp_path: Path, written: list[tuple[Path, dict[str, Any]]]) -> None:
    deploy.deploy_bundle(tmp_path / "net", "triton", tmp_path / "out", targets="cpu")
    assert written[0][1]["targets"] == ("cpu",)
