"""``optimize deploy BUNDLE triton|kserve|tensorrt8|archive|oci|card|registry -o DIR``: lay a bundle out for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", show_default=False)],
    system: Annotated[
        str,
        typer.Argument(
            metavar="triton|kserve|tensorrt8|archive|oci|card|registry", help="What to write.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.", show_default=False)],
    target: Annotated[str, typer.Option(help="Which engines, comma-separated. Default: all in the bundle.")] = "",
    name: Annotated[str, typer.Option(help="Name that the model is served under. Default: the bundle's.")] = "",
    storage_uri: Annotated[str, typer.Option(metavar="URI", help="KServe: where you upload the repository.")] = "",
    sign: Annotated[Path | None, typer.Option(metavar="KEY.pem", help="archive, oci: sign it (Ed25519).")] = None,
) -> int:
    """Lay a bundle out for Triton or KServe, for a TensorRT 8 elsewhere, or for a registry.

    For KServe: the model repository to upload, and the InferenceService that serves it from --storage-uri. For
    TensorRT 8.5 and 8.6: the graph in a form they read right, and a script that builds the engine with trtexec.
    archive, oci: the bundle as one file or as an OCI artifact, with a model card; card: that alone. registry:
    parameters and metrics as JSON.
    """
    from optimizer.settings import listed
    from optimizer.verbs.deploy import deploy_bundle

    for path in deploy_bundle(
        bundle, system, out, targets=listed(target), name=name, storage_uri=storage_uri, key=sign
    ):
        print(path)
    return 0
