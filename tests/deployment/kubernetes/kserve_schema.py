"""KServe's own description of an InferenceService, read out of the package ``kserve`` without importing it (that asks
for 400 MB of others): its models are generated from the types that its CRD is generated from.

What they leave to Kubernetes (``V1Volume``, ``V1ResourceRequirements``) is checked by Kubernetes' own schemas.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PLAIN = {"str": str, "int": int, "bool": bool, "object": dict}
_OF_ANOTHER = re.compile(r"(?:list\[(?P<item>.+)\]|dict\(str, (?P<value>.+)\))")


def installed() -> bool:
    return find_spec("kserve") is not None


def check_inference_service(manifest: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for a field that KServe does not know or of another type."""
    _check(manifest, "V1beta1InferenceService", "")


def as_pod(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The pod that the predictor is besides what KServe adds to one: its fields stand beside KServe's own in the
    predictor, those of its container in ``model``."""
    predictor = manifest["spec"]["predictor"]
    of_pod = {key: value for key, value in predictor.items() if key not in ("minReplicas", "maxReplicas", "model")}
    own = ("modelFormat", "protocolVersion", "storageUri", "runtimeVersion")
    container = {key: value for key, value in predictor["model"].items() if key not in own}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": manifest["metadata"],
        "spec": {**of_pod, "containers": [{"name": "kserve-container", "image": "triton", **container}]},
    }


def _check(value: Any, kind: str, where: str) -> None:
    if kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            raise ValueError(f"{where}: {value!r} is no {kind}")
        return
    if found := _OF_ANOTHER.fullmatch(kind):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        if isinstance(value, dict) != bool(found["value"]):
            raise ValueError(f"{where}: {value!r} is no {kind}")
        for key, item in items:
            _check(item, found["item"] or found["value"], f"{where}[{key}]")
        return
    fields = _fields(kind)
    if fields is None:  # one of Kubernetes'
        return
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {value!r} is no {kind}")
    for key, item in value.items():
        if key not in fields:
            raise ValueError(f"{where}: {kind} has no {key!r}")
        _check(item, fields[key], f"{where}.{key}")


def _fields(kind: str) -> dict[str, str] | None:
    """What a model of the package holds, by its name in JSON; None for one that is not KServe's."""
    spec = find_spec("kserve")
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin).parent / "models" / f"{_snake(kind)}.py"
    if not file.is_file():
        return None
    tables = {
        target.id: ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("openapi_types", "attribute_map")
    }
    return {tables["attribute_map"][name]: kind for name, kind in tables["openapi_types"].items()}


def _snake(kind: str) -> str:
    """``V1beta1ModelSpec`` -> ``v1beta1_model_spec``: how the generator names files."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
