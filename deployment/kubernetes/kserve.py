"""A KServe ``InferenceService`` that serves a Triton model repository on Kubernetes, as YAML text.

Fields: https://kserve.github.io/website/docs/reference/crd-api (``serving.kserve.io/v1beta1``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from graphs.errors import BadInput


@dataclass(frozen=True)
class ServiceOptions:
    """``storage_uri`` is where the model repository lies (``pvc://``, ``s3://``, ``gs://``); ``gpu_resource`` is the
    Kubernetes resource of one GPU or MIG slice, empty for a CPU service; ``runtime_version`` a Triton image tag."""

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


def inference_service(name: str, options: ServiceOptions) -> str:
    """The manifest as YAML. Raises ``BadInput`` for a name Kubernetes refuses, or replicas the wrong way round."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise BadInput(f"{name!r} is no Kubernetes name", expected="at most 63 of a-z, 0-9 and -, not - at an end")
    if not 0 <= options.min_replicas <= options.max_replicas:
        raise BadInput(
            f"{options.min_replicas} to {options.max_replicas} replicas", expected="0 <= min_replicas <= max_replicas"
        )
    return "\n".join(_lines(name, options)) + "\n"


def _lines(name: str, options: ServiceOptions) -> list[str]:
    lines = [
        "apiVersion: serving.kserve.io/v1beta1",
        "kind: InferenceService",
        "metadata:",
        f"  name: {name}",
        f"  namespace: {_quoted(options.namespace)}",
        "spec:",
        "  predictor:",
        f"    minReplicas: {options.min_replicas}",
        f"    maxReplicas: {options.max_replicas}",
    ]
    if options.gpu_resource and options.gpu_product:
        lines += ["    nodeSelector:", f"      nvidia.com/gpu.product: {_quoted(options.gpu_product)}"]
    lines += [
        "    model:",
        "      modelFormat:",
        "        name: triton",
        "      protocolVersion: v2",
        f"      storageUri: {_quoted(options.storage_uri)}",
    ]
    if options.runtime_version:
        lines.append(f"      runtimeVersion: {_quoted(options.runtime_version)}")
    return lines + _resources(options)


def _resources(options: ServiceOptions) -> list[str]:
    amounts = [f"          cpu: {_quoted(options.cpu)}", f"          memory: {_quoted(options.memory)}"]
    if options.gpu_resource:
        amounts.append(f"          {options.gpu_resource}: {_quoted(str(options.gpus))}")
    return ["      resources:", "        requests:", *amounts, "        limits:", *amounts]


def _quoted(text: str) -> str:
    # A JSON string is a YAML string, whatever it holds.
    return json.dumps(text)
