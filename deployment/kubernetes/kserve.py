"""A KServe ``InferenceService`` that serves a Triton model repository on Kubernetes.

Fields: https://kserve.github.io/website/docs/reference/crd-api (``serving.kserve.io/v1beta1``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from deployment.kubernetes.workload import LOCKED, USER, check_amounts, check_name, scratch_mounts, scratch_volumes
from graphs.errors import BadInput

_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]\S*")


@dataclass(frozen=True)
class ServiceOptions:
    """``storage_uri`` is where the model repository lies (``pvc://``, ``s3://``, ``gs://``); ``gpu_resource`` is the
    Kubernetes resource of one GPU or MIG slice, empty for a CPU service; ``runtime_version`` the tag of Triton's image,
    empty for the one that the cluster's KServe has; ``server_options`` go behind what KServe gives tritonserver."""

    storage_uri: str
    namespace: str = "default"
    gpu_resource: str = "nvidia.com/gpu"
    gpus: int = 1
    gpu_product: str = ""
    runtime_version: str = ""
    min_replicas: int = 1
    max_replicas: int = 1
    cpu: str = "2"
    memory: str = "4Gi"
    server_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or not self.max_replicas:  # most 0 is KServe's "no limit"
            what = f"{self.min_replicas} to {self.max_replicas} replicas"
            raise BadInput(what, where="--replicas", expected="0 <= least <= most, and most above 0")
        if not _URI.fullmatch(self.storage_uri):
            expected = "a scheme that KServe reads and a place: pvc://CLAIM/PATH, s3://… or gs://…"
            raise BadInput(f"{self.storage_uri!r} is no place", where="--storage-uri", expected=expected)
        check_amounts(self.cpu, self.memory)


def inference_service(name: str, options: ServiceOptions) -> dict[str, Any]:
    """The InferenceService. Raises ``BadInput`` for a name Kubernetes refuses."""
    check_name(name)
    predictor: dict[str, Any] = {
        "minReplicas": options.min_replicas,
        "maxReplicas": options.max_replicas,
        "volumes": scratch_volumes(),
    }
    if options.gpu_resource and options.gpu_product:
        predictor["nodeSelector"] = {"nvidia.com/gpu.product": options.gpu_product}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {"predictor": {**predictor, "model": _model(options)}},
    }


def _model(options: ServiceOptions) -> dict[str, Any]:
    amounts = {"cpu": options.cpu, "memory": options.memory}
    if options.gpu_resource:
        amounts[options.gpu_resource] = str(options.gpus)
    model: dict[str, Any] = {
        "modelFormat": {"name": "triton"},
        "protocolVersion": "v2",
        "storageUri": options.storage_uri,
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {**LOCKED, "runAsNonRoot": True, "runAsUser": USER},
        "volumeMounts": scratch_mounts(),
    }
    if options.runtime_version:
        model["runtimeVersion"] = options.runtime_version
    if options.server_options:
        model["args"] = list(options.server_options)
    return model
