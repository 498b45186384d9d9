"""The KServe manifest is YAML that says what was asked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from deployment.kubernetes.kserve import ServiceOptions, inference_service
from deployment.kubernetes.yaml_text import to_yaml
from graphs.errors import BadInput
from tests.deployment.kubernetes.kserve_schema import as_pod, check_inference_service, installed

OPTIONS = {
    "little": ServiceOptions("pvc://models/net"),
    "all": ServiceOptions(
        "s3://models/net",
        "prod",
        "nvidia.com/mig-1g.5gb",
        2,
        "NVIDIA-A100-SXM4-40GB",
        "25.06-py3",
        0,
        7,
        "500m",
        "8Gi",
        ("--rate-limit=execution_count",),
    ),
}


def written(name: str, options: ServiceOptions) -> Any:
    """The manifest as a cluster reads it."""
    return yaml.safe_load(to_yaml(inference_service(name, options)))


@pytest.mark.skipif(not installed(), reason="needs KServe's own types: pip install --no-deps kserve")
@pytest.mark.parametrize("which", OPTIONS)
def test_it_has_the_fields_that_kserve_publishes(which: str) -> None:
    service = written("net", OPTIONS[which])
    check_inference_service(service)
    for path, value, words in (
        (("spec", "predictor", "model"), {"storageURI": "x"}, "V1beta1ModelSpec has no 'storageURI'"),
        (("spec", "predictor"), {"minReplicas": "1"}, "minReplicas: '1' is no int"),
    ):
        broken = written("net", OPTIONS[which])
        place = broken
        for key in path:
            place = place[key]
        place.update(value)
        with pytest.raises(ValueError, match=words):
            check_inference_service(broken)


@pytest.mark.parametrize("which", OPTIONS)
@pytest.mark.parametrize("version", ("1.27", "1.32"))
def test_its_pod_fits_kubernetes_published_schemas(which: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    pod = as_pod(written("net", OPTIONS[which]))
    validate.validate(pod, version, strict=True)
    pod["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(validate.ValidationError):
        validate.validate(pod, version, strict=True)


def test_a_gpu_service_asks_for_its_gpu() -> None:
    options = ServiceOptions("pvc://models/net", gpu_resource="nvidia.com/mig-1g.10gb", gpu_product="NVIDIA-A100")
    service = written("net", options)
    predictor = service["spec"]["predictor"]
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert predictor["model"]["modelFormat"] == {"name": "triton"}
    assert predictor["model"]["storageUri"] == "pvc://models/net"
    assert predictor["model"]["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    assert predictor["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100"}


def test_its_container_is_as_locked_as_a_pod_of_ours() -> None:
    predictor = written("net", ServiceOptions("pvc://m"))["spec"]["predictor"]
    context = predictor["model"]["securityContext"]
    assert context["readOnlyRootFilesystem"] and context["runAsNonRoot"] and context["runAsUser"] == 1000
    assert {mount["name"] for mount in predictor["model"]["volumeMounts"]} == {"tmp", "shm"}
    assert {volume["name"] for volume in predictor["volumes"]} == {"tmp", "shm"}


def test_a_cpu_service_asks_for_none() -> None:
    predictor = written("net", ServiceOptions("s3://b/net", gpu_resource="", gpu_product="x"))["spec"]["predictor"]
    assert set(predictor["model"]["resources"]["limits"]) == {"cpu", "memory"}
    assert "nodeSelector" not in predictor


def test_the_triton_asked_for_and_its_options_are_what_runs() -> None:
    options = ServiceOptions("pvc://m", runtime_version="25.06-py3", server_options=("--rate-limit=execution_count",))
    model = written("net", options)["spec"]["predictor"]["model"]
    assert model["runtimeVersion"] == "25.06-py3" and model["args"] == ["--rate-limit=execution_count"]
    assert not {"runtimeVersion", "args"} & set(written("net", ServiceOptions("pvc://m"))["spec"]["predictor"]["model"])


def test_no_value_can_break_out_of_its_field() -> None:
    uri, namespace = "s3://a\"#:'{x", 'a"\nkind: Secret\n#: {x'
    service = written("net", ServiceOptions(uri, namespace=namespace))
    assert service["spec"]["predictor"]["model"]["storageUri"] == uri
    assert service["metadata"]["namespace"] == namespace
    assert service["kind"] == "InferenceService"


@pytest.mark.parametrize("name", ["", "Net", "a_b", "-a", "a" * 64])
def test_names_kubernetes_refuses_are_refused_here(name: str) -> None:
    with pytest.raises(BadInput, match="no Kubernetes name"):
        inference_service(name, ServiceOptions("pvc://m"))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"min_replicas": 3}, "3 to 1 replicas"),
        ({"min_replicas": 0, "max_replicas": 0}, "0 to 0 replicas"),
        ({"storage_uri": "models/net"}, "--storage-uri: 'models/net' is no place"),
        ({"storage_uri": "s3://a b"}, "is no place"),
        ({"storage_uri": "s3://"}, "is no place"),
        ({"cpu": "two"}, "--cpu: 'two' is no quantity"),
        ({"memory": "0Gi"}, "--memory: '0Gi' is no quantity"),
    ],
)
def test_what_kserve_cannot_use_is_refused(option: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ServiceOptions(**{"storage_uri": "pvc://m", **option})
