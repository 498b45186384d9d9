"""A Triton server on Kubernetes without any operator: Deployment, Service, HorizontalPodAutoscaler, disruption budget.

The pod runs as nobody in particular: not as root, with a root file system that cannot be written, without
capabilities, and without a token for the cluster's API. Fields: https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from graphs.errors import BadInput

HTTP, GRPC, METRICS = 8000, 8001, 8002
"""Triton's usual ports."""
USER = 1000
"""``triton-server`` in NVIDIA's image."""
MODELS = "/models"
PENDING = "nv_inference_pending_request_count"
"""Triton's gauge of requests that wait for an instance (docs/user_guide/metrics.md; from 23.12 on). What a pod has too
much to do shows there first; utilization of the GPU does not tell, as a full one may be keeping up."""
PENDING_SINCE = "23.12"
"""The first release of Triton with it."""
LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""A container's security context."""
_STARTUP_SECONDS, _PERIOD = 600, 5
"""How long a server may take to be ready: TensorRT may build an engine on its first start. Chosen."""
_DRAIN_SECONDS = 60
"""For requests that have begun when a pod ends. Chosen."""
_LEAVE_SECONDS = 5
"""Between a pod's end and Triton's: until then Services still send it requests. Chosen."""
_MARGIN_SECONDS = 10
"""For Triton to close models after the last answer, before it is killed. Chosen: the one in the tests takes three."""
_SCRATCH = "4Gi"
"""Of ``/tmp``: engines that TensorRT built on the server, environments of the Python backend. Chosen."""


@dataclass(frozen=True)
class PodOptions:
    """``image`` runs tritonserver; ``claim`` is a PersistentVolumeClaim that holds the model repository, at ``path`` in
    it, empty where the image holds it at ``/models``. ``gpu_resource`` empty asks for no GPU; ``gpu_product`` picks
    nodes by the label of NVIDIA's GPU feature discovery. ``waiting`` is how many requests may wait in a pod before
    another is started. ``capabilities`` ("7.5") are those of GPUs that plans are for: their nodes are preferred.
    """

    image: str
    claim: str = ""
    path: str = ""
    namespace: str = "default"
    gpu_resource: str = ""
    gpus: int = 1
    gpu_product: str = ""
    min_replicas: int = 1
    max_replicas: int = 4
    cpu: str = "2"
    memory: str = "4Gi"
    waiting: int = 8
    server_options: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            what = f"{self.min_replicas} to {self.max_replicas} replicas"
            raise BadInput(what, where="--replicas", expected="1 <= least <= most")
        check_image(self.image)
        check_amounts(self.cpu, self.memory)


def check_image(image: str) -> None:
    """Raise ``BadInput`` for what names no image: it goes into a Dockerfile's line as it is."""
    if not re.fullmatch(r"\S+", image):
        raise BadInput(f"{image!r} is no image", where="--image", expected="REGISTRY/NAME:TAG")


def check_amounts(cpu: str, memory: str) -> None:
    """Raise ``BadInput`` for what Kubernetes takes as no quantity above 0."""
    for option, amount in (("--cpu", cpu), ("--memory", memory)):
        if not re.fullmatch(r"(?=.*[1-9])\d+(\.\d+)?(m|[kKMGTPE]i?)?", amount):
            raise BadInput(f"{amount!r} is no quantity", where=option, expected="2, 500m or 4Gi")


def check_name(name: str) -> None:
    """Raise ``BadInput`` for a name that Kubernetes refuses."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):
        what = f"{name!r} is no Kubernetes name"
        expected = "at most 63 of a-z, 0-9 and -, a letter first, not - last"
        raise BadInput(what, where="--name", expected=expected, fix="give one that makes such a name: --name model")


def deployment(name: str, options: PodOptions) -> dict[str, Any]:
    """The Deployment. Raises ``BadInput`` for a name Kubernetes refuses."""
    check_name(name)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "enginewright"}
    selector = {"app.kubernetes.io/name": name}
    scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS), "prometheus.io/path": "/metrics"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": options.namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": selector},
            # a rollout starts a new pod before it ends an old one
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels, "annotations": scrape}, "spec": _pod(name, options)},
        },
    }


def _pod(name: str, options: PodOptions) -> dict[str, Any]:
    volumes = scratch_volumes()
    if options.claim:
        volumes.append({"name": "models", "persistentVolumeClaim": {"claimName": options.claim, "readOnly": True}})
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _LEAVE_SECONDS + _DRAIN_SECONDS + _MARGIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # a large volume is not walked through at every start
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [_apart(name)],
        "containers": [_container(options)],
        "volumes": volumes,
    }
    if options.gpu_resource:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        if options.gpu_product:
            pod["nodeSelector"] = {"nvidia.com/gpu.product": options.gpu_product}
        if options.capabilities:
            wanted = [_has(capability) for capability in options.capabilities]
            pod["affinity"] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wanted}}
    return pod


def _apart(name: str) -> dict[str, Any]:
    """One node's end should not be that of all pods; where there is one node, they share it."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
    }


def _has(capability: str) -> dict[str, Any]:
    """A node with such a GPU, by the labels of NVIDIA's GPU feature discovery."""
    parts = zip(("major", "minor"), capability.split("."), strict=True)
    terms = [{"key": f"nvidia.com/gpu.compute.{part}", "operator": "In", "values": [value]} for part, value in parts]
    return {"weight": 100, "preference": {"matchExpressions": terms}}


def _container(options: PodOptions) -> dict[str, Any]:
    mounts = scratch_mounts()
    if options.claim:
        inside = {"subPath": options.path} if options.path else {}
        mounts.append({"name": "models", "mountPath": MODELS, "readOnly": True, **inside})
    amounts = {"cpu": options.cpu, "memory": options.memory}
    gpu = {options.gpu_resource: str(options.gpus)} if options.gpu_resource else {}
    return {
        "name": "tritonserver",
        "image": options.image,
        "args": ["tritonserver", *server_arguments(options.server_options)],
        "ports": [
            {"name": "http", "containerPort": HTTP},
            {"name": "grpc", "containerPort": GRPC},
            {"name": "metrics", "containerPort": METRICS},
        ],
        "resources": {"requests": {**amounts, **gpu}, "limits": {**amounts, **gpu}},
        "startupProbe": {**_probe("ready"), "failureThreshold": _STARTUP_SECONDS // _PERIOD},
        "livenessProbe": {**_probe("live"), "failureThreshold": 6},
        "readinessProbe": _probe("ready"),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_LEAVE_SECONDS)]}}},
        "securityContext": dict(LOCKED),
        "volumeMounts": mounts,
    }


def scratch_volumes() -> list[dict[str, Any]]:
    """What a server writes to, its root file system being locked. Shared memory counts as the pod's memory."""
    return [
        {"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ]


def scratch_mounts() -> list[dict[str, Any]]:
    """Where a container finds them."""
    return [{"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}]


def server_arguments(more: tuple[str, ...] = ()) -> list[str]:
    """Of tritonserver, in a container."""
    return [f"--model-repository={MODELS}", f"--exit-timeout-secs={_DRAIN_SECONDS}", *more]


def _probe(what: str) -> dict[str, Any]:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": "http"}, "periodSeconds": _PERIOD, "timeoutSeconds": 3}


def service(name: str, options: PodOptions) -> dict[str, Any]:
    """The Service: inference over HTTP and gRPC; metrics are scraped from the pods."""
    ports = [("http", HTTP, "http"), ("grpc", GRPC, "kubernetes.io/h2c")]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {
            "selector": {"app.kubernetes.io/name": name},
            "ports": [
                {"name": port, "port": number, "targetPort": port, "appProtocol": protocol}
                for port, number, protocol in ports
            ],
        },
    }


def autoscaler(name: str, options: PodOptions) -> dict[str, Any]:
    """The HorizontalPodAutoscaler on ``PENDING``, which an adapter (prometheus-adapter) hands to Kubernetes."""
    metric = {"name": PENDING}
    target = {"type": "AverageValue", "averageValue": str(options.waiting)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": options.min_replicas,
            "maxReplicas": options.max_replicas,
            "metrics": [{"type": "Pods", "pods": {"metric": metric, "target": target}}],
            # a model takes long to load: what was started is kept for a while
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def disruption_budget(name: str, options: PodOptions) -> dict[str, Any]:
    """The PodDisruptionBudget: who drains nodes takes one pod at a time, and is never held up by the only one."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": name}}},
    }
