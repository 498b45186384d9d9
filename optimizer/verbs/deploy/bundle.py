"""``optimize deploy``: a bundle laid out for a serving system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.options import TritonOptions
from graphs.errors import BadInput
from optimizer.bundle import MODEL, Bundle
from optimizer.settings.given import listed
from optimizer.verbs.deploy.kubernetes import ClusterOptions, write_cluster_files
from optimizer.verbs.deploy.mig import MigRequest, write_mig_plan
from optimizer.verbs.deploy.release import write_release
from optimizer.verbs.deploy.table import RELEASES, check_arguments
from optimizer.verbs.deploy.tensorrt8 import write_tensorrt8_folder
from optimizer.verbs.deploy.triton.checking import CheckRequest
from optimizer.verbs.deploy.triton.deploy import TritonDeployment, deploy_triton
from optimizer.verbs.deploy.triton.tune import TuneRequest


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
    cluster: ClusterOptions | None = None,
    mig: MigRequest | None = None,
    key: Path | None = None,
    triton: TritonOptions | None = None,
    check: CheckRequest | None = None,
    tune: TuneRequest | None = None,
    around: Around | None = None,
) -> Deployed:
    """Write ``out`` for ``system`` and say what was written.

    ``targets`` default to all of the bundle, ``name`` to the bundle's. ``cluster`` says where and how it
    runs on Kubernetes, ``mig`` what to plan slices for. ``key`` signs an archive or an OCI layout. ``triton`` are a
    model repository's options, ``check`` how to verify one, ``tune`` what to search one for and ``around`` what runs
    before and after the model.

    Raises ``BadInput`` for an unknown system and for an argument that ``system`` has no use for, and whatever
    ``deploy_triton`` and ``write_tensorrt8_folder`` refuse.
    """
    arguments = {
        "targets": targets or None,
        "name": name or None,
        "triton": triton,
        "check": check,
        "tune": tune,
        "around": around,
        "cluster": cluster,
        "mig": mig,
        "key": key,
    }
    check_arguments(system, [name for name, value in arguments.items() if value is not None])
    bundle = Bundle(path)
    if path.resolve() in (out.resolve(), *out.resolve().parents):
        raise BadInput("lies in the bundle itself", where=str(out), expected="a folder outside it")
    model = name or bundle.name
    if system in RELEASES:
        return Deployed(write_release(bundle, system, out, model, key))
    if system == "tensorrt8":
        return Deployed(write_tensorrt8_folder(bundle, out))
    if system == "mig":
        return Deployed(write_mig_plan(bundle, out, model, mig or MigRequest()))
    chosen = listed(targets) or tuple(bundle.targets())
    bundle.check_intact(f"{MODEL}*", *(f"engines/{target}/*" for target in (chosen if targets else ("*",))))
    if system == "triton":
        found = deploy_triton(
            bundle.path, out, name=model, targets=chosen, options=triton, check=check, tune=tune, around=around
        )
        return Deployed(found.files, found)
    given = cluster or ClusterOptions()
    return Deployed(write_cluster_files(system, bundle.path, out, model, chosen, triton, given, around))
