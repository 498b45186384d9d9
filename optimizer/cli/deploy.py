"""``optimize deploy BUNDLE triton -o DIR``: lay a bundle out for a serving system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", show_default=False)],
    system: Annotated[str, typer.Argument(metavar="triton", help="The serving system.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.", show_default=False)],
    target: Annotated[str, typer.Option(help="Comma-separated targets. Default: all in the bundle.")] = "",
    name: Annotated[str, typer.Option(help="Model name. Default: the bundle's model.")] = "",
) -> int:
    """Write a serving system's model repository from a bundle."""
    from deployment.triton import write_triton_repository
    from graphs.errors import BadInput
    from optimizer.bundle import Bundle
    from optimizer.settings import listed

    if system != "triton":
        raise BadInput(f"unknown serving system {system!r}", where="optimize deploy", expected="triton")
    opened = Bundle(bundle)
    model = name or bundle.resolve().name.removesuffix(".optimized")
    for path in write_triton_repository(
        opened.path, out, name=model, targets=listed(target) or tuple(opened.targets())
    ):
        print(path)
    return 0
