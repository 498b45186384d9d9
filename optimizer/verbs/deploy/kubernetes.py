"""``optimize deploy BUNDLE kubernetes|kserve|docker``: a model repository, and the files that run Triton on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deployment.kubernetes.image import dockerfile
from deployment.kubernetes.kserve import ServiceOptions, inference_service
from deployment.kubernetes.workload import PENDING_SINCE, PodOptions, autoscaler, deployment, disruption_budget, service
from deployment.kubernetes.yaml_text import to_yaml
from deployment.triton.repository.containers import CONTAINERS
from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.models import ModelFolder
from deployment.triton.repository.options import PYTHON, TritonOptions
from deployment.triton.repository.write import repository_files, write_triton_repository
from deployment.triton.server.options import server_options
from engines.targets.mig import GPU_RESOURCE, check_gpu_resource
from engines.targets.target import CPU
from graphs.errors import BadInput
from graphs.files import write_together
from optimizer.verbs.deploy.triton.image_files import images_read
from optimizer.version import version as installed

REPOSITORY, SERVICE, IMAGE = "repository", "inference-service.yaml", "Dockerfile"
"""The models to upload or to build an image of, and what names where they then lie."""
_USUAL_REPLICAS = {"kubernetes": "1:4"}
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What Kubernetes takes as a namespace (RFC 1123), and as the value of a label."""
_PVC = re.compile(r"pvc://(?P<claim>[a-z0-9][a-z0-9.-]*)(?:/(?P<path>[^\s]*))?")


@dataclass(frozen=True)
class ClusterOptions:
    """What the command line says; empty texts take what the bundle says."""

    storage_uri: str = ""
    image: str = ""
    namespace: str = "default"
    gpu_resource: str = ""
    gpu_product: str = ""
    replicas: str = ""
    cpu: str = "2"
    memory: str = "4Gi"

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            expected = "at most 63 of a-z, 0-9 and -, neither first nor last a -"
            raise BadInput(f"{self.namespace!r} is no namespace", where="--namespace", expected=expected)
        if self.gpu_product and not _LABEL.fullmatch(self.gpu_product):
            expected = "as kubectl get nodes -L nvidia.com/gpu.product shows it"
            raise BadInput(f"{self.gpu_product!r} is no value of a label", where="--gpu-product", expected=expected)
        if self.storage_uri.startswith("pvc://") and ".." in self.storage_uri.split("/"):
            what = f"{self.storage_uri!r} leads out of the claim"
            raise BadInput(what, where="--storage-uri", expected="pvc://CLAIM or pvc://CLAIM/PATH")


def write_cluster_files(
    system: str,
    bundle: Path,
    out: Path,
    name: str,
    targets: Sequence[str],
    triton: TritonOptions | None,
    options: ClusterOptions,
    around: Around | None = None,
) -> list[Path]:
    """Write ``out`` and return its files. Raises ``BadInput`` for what cannot be served, before anything is written."""
    service_name = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    gpu = _gpu(targets, options)
    least, most = _replicas(options.replicas or _USUAL_REPLICAS.get(system, "1"))
    why = _python(triton, around)
    if why and system != "docker" and not options.image:
        fix = f"build an image with it (optimize deploy BUNDLE docker {why} …), and name it: kubernetes --image"
        raise BadInput("NVIDIA's image has no enginewright, which Triton's Python backend runs", where=why, fix=fix)
    texts: Callable[[_Told], dict[str, str]]
    if system == "docker":
        texts = partial(_docker, _base(triton, options), _package() if why else "")
    elif system == "kserve":
        texts = partial(_kserve, service_name, _service(options, triton, gpu, least, most))
    else:
        texts = partial(_kubernetes, service_name, _pods(options, triton, gpu, least, most))
    texts(_Told())  # what is wrong is said before models are written
    with images_read(around, bundle, targets) as functions:
        models = write_triton_repository(
            bundle, out / REPOSITORY, name=name, targets=targets, options=triton, around=functions
        )
    found = texts(_Told(server_options(model.config for model in models), _capabilities(models)))
    written = write_together(out, {file: text.encode() for file, text in found.items()})
    return [*repository_files(out / REPOSITORY, models), *written]


def _python(triton: TritonOptions | None, around: Around | None) -> str:
    """The option by which Triton's Python backend runs code of this package; empty without one."""
    if triton is not None and triton.backend == PYTHON:
        return "--backend python"
    return ("--preprocess" if around.before else "--postprocess") if around is not None else ""


def _package() -> str:
    """Of this version; any, where this one runs from a checkout that was never installed."""
    own = installed()
    return "enginewright" if own.startswith("0+") else f"enginewright=={own}"


@dataclass(frozen=True)
class _Told:
    """What the models tell: options that their server needs, and the compute capabilities that their plans are for."""

    words: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


def _capabilities(models: Sequence[ModelFolder]) -> tuple[str, ...]:
    found: set[str] = set()
    for model in models:
        own = model.engine.manifest.compute_capability
        if model.plans and own is not None:
            found |= set(model.config.filename_of_capability) or {"{}.{}".format(*own)}
    return tuple(sorted(found))


def _docker(base: str, package: str, told: _Told) -> dict[str, str]:
    return {IMAGE: dockerfile(base, REPOSITORY, told.words, package)}


def _kserve(name: str, asked: ServiceOptions, told: _Told) -> dict[str, str]:
    return {SERVICE: to_yaml(inference_service(name, replace(asked, server_options=told.words)))}


def _kubernetes(name: str, pods: PodOptions, told: _Told) -> dict[str, str]:
    pods = replace(pods, server_options=told.words, capabilities=told.capabilities)
    made = {"deployment": deployment, "service": service, "autoscaler": autoscaler, "disruption": disruption_budget}
    return {f"{file}.yaml": to_yaml(make(name, pods)) for file, make in made.items()}


def _service(options: ClusterOptions, triton: TritonOptions | None, gpu: str, least: int, most: int) -> ServiceOptions:
    if not options.storage_uri:
        expected = "pvc://…, s3://… or gs://…"
        raise BadInput("KServe must know where the models lie", where="--storage-uri", expected=expected)
    container = triton.container if triton is not None else None
    tag = container.image.rpartition(":")[2] if container is not None else ""
    return ServiceOptions(
        options.storage_uri, options.namespace, gpu, 1, options.gpu_product, tag, least, most, options.cpu,
        options.memory,
    )  # fmt: skip


def _pods(options: ClusterOptions, triton: TritonOptions | None, gpu: str, least: int, most: int) -> PodOptions:
    claim = path = ""
    if options.storage_uri:
        found = _PVC.fullmatch(options.storage_uri)
        if found is None:
            fix = "copy it there, build an image of it (`optimize deploy BUNDLE docker`), or use kserve"
            what = f"a pod cannot mount {options.storage_uri!r}"
            raise BadInput(what, where="--storage-uri", expected="pvc://CLAIM or pvc://CLAIM/PATH", fix=fix)
        claim, path = found["claim"], (found["path"] or "").strip("/")
    elif not options.image:
        fix = "name their claim (--storage-uri pvc://CLAIM/PATH), or an image that holds them (--image)"
        raise BadInput("the pods must know where the models lie", where="deploy BUNDLE kubernetes", fix=fix)
    container = triton.container if triton is not None else None
    if container is not None and container.release < PENDING_SINCE and least < most:
        what = f"Triton {container.release} has no gauge of waiting requests, which pods are started by"
        fix = f"say how many pods: --replicas {most}:{most}"
        raise BadInput(what, where="--triton", expected=f"{PENDING_SINCE} or later", fix=fix)
    image = options.image or _base(triton, options)
    return PodOptions(
        image, claim, path, options.namespace, gpu, 1, options.gpu_product, least, most, options.cpu, options.memory
    )


def _base(triton: TritonOptions | None, options: ClusterOptions) -> str:
    """NVIDIA's image of the release asked for: no other is taken silently, a plan runs in one TensorRT's only."""
    if options.image:
        return options.image
    if triton is None or triton.container is None:
        newest = max(CONTAINERS)
        expected = f"a release, such as {newest}; or --image"
        raise BadInput("which Triton is to serve?", where="--triton", expected=expected)
    return triton.container.image


def _gpu(targets: Sequence[str], options: ClusterOptions) -> str:
    gpus = [target for target in targets if target != CPU.name]
    for option, given in (("--gpu-resource", options.gpu_resource), ("--gpu-product", options.gpu_product)):
        if given and not gpus:  # one that nobody uses would be taken from others
            raise BadInput("no engine is for a GPU", where=option, fix="leave it out, or name a GPU's --target")
    if options.gpu_resource:
        check_gpu_resource(options.gpu_resource, gpus)
        return options.gpu_resource
    return GPU_RESOURCE if gpus else ""


def _replicas(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}))?", text)
    if found is None:
        raise BadInput(f"{text!r} is no number of pods", where="--replicas", expected="LEAST:MOST, such as 1:4")
    return int(found[1]), int(found[2] or found[1])
