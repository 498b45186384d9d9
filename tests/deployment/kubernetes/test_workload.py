"""What is written for Kubernetes fits its published schemas, says what was asked, and runs as nobody in particular."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployment.kubernetes.image import dockerfile
from deployment.kubernetes.workload import PENDING, PodOptions, autoscaler, deployment, disruption_budget, service
from deployment.kubernetes.yaml_text import to_yaml
from engines.targets.mig import check_gpu_resource
from graphs.errors import BadInput

OPTIONS = {
    "an image that holds the models": PodOptions("r.io/net:1"),
    "a claim, and a slice of a GPU": PodOptions(
        "nvcr.io/nvidia/tritonserver:25.06-py3",
        "models",
        "net/repository",
        "prod",
        "nvidia.com/mig-1g.5gb",
        1,
        "NVIDIA-A100-SXM4-40GB",
        2,
        7,
        "500m",
        "8Gi",
        server_options=("--rate-limit=execution_count",),
        capabilities=("7.5", "8.0"),
    ),
}
MAKES = {
    "Deployment": deployment,
    "Service": service,
    "HorizontalPodAutoscaler": autoscaler,
    "PodDisruptionBudget": disruption_budget,
}
VERSIONS = ("1.27", "1.32")
"""Of Kubernetes: an old one that clusters still run, and a later one."""


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("which", OPTIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_the_published_schemas(kind: str, which: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    written = yaml.safe_load(to_yaml(MAKES[kind]("net-1", OPTIONS[which])))
    assert written["kind"] == kind and written == MAKES[kind]("net-1", OPTIONS[which])
    validate.validate(written, version, strict=True)
    broken = {**written, "spec": {**written["spec"], "replica": 1}}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, version, strict=True)


def test_a_pod_can_do_nothing_but_serve() -> None:
    pod = deployment("net", OPTIONS["a claim, and a slice of a GPU"])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "8Gi", "nvidia.com/mig-1g.5gb": "1"}
    assert {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "net/repository"} in container[
        "volumeMounts"
    ]
    assert container["args"][-1] == "--rate-limit=execution_count"
    assert {container[f"{when}Probe"]["httpGet"]["path"] for when in ("liveness", "readiness", "startup")} == {
        "/v2/health/live",
        "/v2/health/ready",
    }


def test_a_pod_has_time_to_drain_and_goes_where_its_plans_run() -> None:
    """Kubernetes kills it after the grace period, the hook's seconds included; a plan is for one compute capability."""
    pod = deployment("net", OPTIONS["a claim, and a slice of a GPU"])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (drain,) = (int(word.split("=")[1]) for word in container["args"] if word.startswith("--exit-timeout-secs="))
    hook = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > drain + hook
    preferred = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    told = [{term["key"]: term["values"] for term in each["preference"]["matchExpressions"]} for each in preferred]
    assert told[0] == {"nvidia.com/gpu.compute.major": ["7"], "nvidia.com/gpu.compute.minor": ["5"]}
    assert len(told) == 2
    assert "affinity" not in deployment("net", OPTIONS["an image that holds the models"])["spec"]["template"]["spec"]


def test_pods_are_added_where_requests_wait() -> None:
    scaler = autoscaler("net", PodOptions("i:1", min_replicas=2, max_replicas=5))["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert scaler["metrics"][0]["pods"]["metric"]["name"] == PENDING
    assert scaler["scaleTargetRef"]["name"] == "net"


def test_amounts_and_names_that_kubernetes_refuses_are_refused_here() -> None:
    for wrong in ({"image": "a b"}, {"cpu": "two"}, {"memory": "4 GB"}, {"min_replicas": 3, "max_replicas": 2}):
        with pytest.raises(BadInput):
            PodOptions(**{"image": "i:1", **wrong})  # type: ignore[arg-type]
    for name in ("", "Net", "1net", "a_b", "a" * 64):
        with pytest.raises(BadInput, match="no Kubernetes name"):
            deployment(name, PodOptions("i:1"))


def test_slices_are_those_that_the_targets_gpus_are_cut_into() -> None:
    check_gpu_resource("nvidia.com/gpu", ["t4", "a100"])
    check_gpu_resource("nvidia.com/mig-1g.5gb", ["a100"])
    check_gpu_resource("nvidia.com/mig-1g.10gb.me", ["a100", "h100"])
    with pytest.raises(BadInput, match="a30 is not cut into"):
        check_gpu_resource("nvidia.com/mig-1g.5gb", ["a100", "a30"])
    with pytest.raises(BadInput, match="t4 is not cut into"):
        check_gpu_resource("nvidia.com/mig-1g.5gb", ["t4"])
    with pytest.raises(BadInput, match="is no GPU"):
        check_gpu_resource("nvidia.com/mig-9g.5gb", ["a100"])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.sampled_from(["no", "1e3", "0x1", "~", "- a", "a: b", "# c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3))
def test_what_is_written_as_yaml_is_read_back(value: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


def test_the_dockerfile_is_clean(tmp_path: Path) -> None:
    options = ("--rate-limit=execution_count",)
    text = dockerfile("nvcr.io/nvidia/tritonserver:25.06-py3", "repository", options, "enginewright==1.2.3")
    assert "python3 -m pip install --no-cache-dir 'enginewright==1.2.3'\n" in text
    assert "pip" not in dockerfile("nvcr.io/nvidia/tritonserver:25.06-py3", "repository")
    assert "USER 1000:1000" in text and '"--model-repository=/models"' in text
    beside = Path(sys.executable).parent  # where pip puts it, which need not be on the PATH
    linter = shutil.which("hadolint", path=os.pathsep.join([str(beside), os.environ["PATH"]]))
    if linter is None:
        pytest.skip("hadolint is not installed")
    (tmp_path / "Dockerfile").write_text(text)
    words = [linter, "--failure-threshold", "info", str(tmp_path / "Dockerfile")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
