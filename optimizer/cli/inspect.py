"""``optimize inspect MODEL_OR_BUNDLE``: inputs, ops, parameters, FLOPs, Q/DQ, what a target cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL_OR_BUNDLE", show_default=False)],
    layers: Annotated[str, typer.Option(metavar="TARGET", help="A bundle's layer table for one target.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """What is in a model: inputs, ops, parameters, FLOPs, Q/DQ, what a target cannot run; the engines of a bundle."""
    import sys

    from engines.files import to_json
    from optimizer.inspection import inspect_model, render

    if layers:
        return _layers(model, layers, json)
    found = inspect_model(model)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from rich.console import Console

        render(found, Console())
    return 0


def _layers(bundle: Path, target: str, json: bool) -> int:
    import sys

    from engines.files import to_json
    from engines.manifest import EngineManifest
    from optimizer.bundle import Bundle
    from optimizer.engine_tables import render_layers

    table = EngineManifest.load(Bundle(bundle).engine_directory(target)).layers
    if json:
        sys.stdout.buffer.write(to_json(table))
    else:
        from rich.console import Console

        render_layers(table, Console())
    return 0
