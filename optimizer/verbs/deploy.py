"""``optimize deploy``: a bundle laid out for a serving system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployment.kserve import ServiceOptions, inference_service
from deployment.triton.models import TritonOptions
from deployment.triton.repository import repository_files, write_triton_repository
from engines.targets.target import CPU
from graphs.errors import BadInput
from graphs.files import write_atomically
from optimizer.bundle import Bundle
from optimizer.verbs.release import RELEASES, write_release
from optimizer.verbs.tensorrt8 import write_tensorrt8_folder
from optimizer.verbs.triton.deploy import TritonDeployment, deploy_triton
from optimizer.verbs.triton.proof import CheckRequest
from optimizer.verbs.triton.tune import TuneRequest

SYSTEMS = ("triton", "kserve", "tensorrt8", *RELEASES)
REPOSITORY, SERVICE = "repository", "inference-service.yaml"
"""What ``kserve`` writes: the models to upload, and the manifest that names where they then lie."""


@dataclass(frozen=True)
class Deployed:
    """The files written; ``triton`` is what is known of a model repository, None for another system."""

    files: list[Path]
    triton: TritonDeployment | None = None


def deploy_bundle(
    path: Path,
    system: str,
    out: Path,
    *,
    targets: Sequence[str] = (),
    name: str = "",
    storage_uri: str = "",
    key: Path | None = None,
    triton: TritonOptions | None = None,
    check: CheckRequest | None = None,
    tune: TuneRequest | None = None,
) -> Deployed:
    """Write ``out`` for ``system`` and say what was written.

    ``targets`` default to all of the bundle, ``name`` to the bundle's. ``storage_uri`` is where KServe's cluster finds
    the repository once it is uploaded. ``key`` signs an archive or an OCI layout. ``triton`` are a model repository's
    options, ``check`` how to prove one and ``tune`` what to search one for.

    Raises ``BadInput`` for an unknown system, and whatever ``deploy_triton`` and ``write_tensorrt8_folder`` refuse.
    """
    if system not in SYSTEMS:
        raise BadInput(
            f"unknown serving system {system!r}", where="optimize deploy", expected=f"one of {', '.join(SYSTEMS)}"
        )
    for option, asked in (("--check", check), ("--optimize-for", tune)):
        if asked is not None and system != "triton":
            raise BadInput("is about a Triton repository", where=option, expected="optimize deploy BUNDLE triton")
    bundle = Bundle(path)
    model = name or path.resolve().name.removesuffix(".optimized")
    if system in RELEASES:
        return Deployed(write_release(bundle, system, out, model, key))
    if system == "tensorrt8":
        return Deployed(write_tensorrt8_folder(bundle, out))
    chosen = tuple(targets) or tuple(bundle.targets())
    if system == "triton":
        found = deploy_triton(bundle.path, out, name=model, targets=chosen, options=triton, check=check, tune=tune)
        return Deployed(found.files, found)
    manifest = _service(model, chosen, storage_uri)
    models = write_triton_repository(bundle.path, out / REPOSITORY, name=model, targets=chosen, options=triton)
    write_atomically(out / SERVICE, manifest.encode())
    return Deployed([*repository_files(out / REPOSITORY, models), out / SERVICE])


def _service(model: str, targets: Sequence[str], storage_uri: str) -> str:
    if not storage_uri:
        raise BadInput(
            "KServe must know where the models lie", where="--storage-uri", expected="pvc://…, s3://… or gs://…"
        )
    on_gpu = any(target != CPU.name for target in targets)
    options = ServiceOptions(storage_uri) if on_gpu else ServiceOptions(storage_uri, gpu_resource="")
    return inference_service(re.sub(r"[^a-z0-9-]+", "-", model.lower()).strip("-"), options)
