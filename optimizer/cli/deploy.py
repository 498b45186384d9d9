"""``optimize deploy BUNDLE triton|kserve|tensorrt8 -o DIR``: lay a bundle out for a serving system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", show_default=False)],
    system: Annotated[
        str,
        typer.Argument(metavar="triton|kserve|tensorrt8", help="The serving system to write for.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.", show_default=False)],
    target: Annotated[str, typer.Option(help="Which engines, comma-separated. Default: all in the bundle.")] = "",
    name: Annotated[str, typer.Option(help="Name that the model is served under. Default: the bundle's.")] = "",
    storage_uri: Annotated[str, typer.Option(metavar="URI", help="KServe: where you upload the repository.")] = "",
) -> int:
    """Lay a bundle out for Triton or KServe, or for a TensorRT 8 elsewhere.

    For KServe: the model repository to upload, and the InferenceService that serves it from --storage-uri. For
    TensorRT 8.5 and 8.6: the graph in a form they read right, and a script that builds the engine with trtexec.
    """
    from optimizer.settings import listed
    from optimizer.verbs.deploy import deploy_bundle

    for path in deploy_bundle(bundle, system, out, targets=listed(target), name=name, storage_uri=storage_uri):
        print(path)
    return 0
