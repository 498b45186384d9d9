"""``optimize inspect MODEL_OR_BUNDLE``: inputs, ops, parameters, FLOPs, Q/DQ, what a target cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL_OR_BUNDLE", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """What is in a model: inputs, ops, parameters, FLOPs, Q/DQ, and what a target cannot run."""
    import sys

    from engines.files import to_json
    from optimizer.inspection import inspect_model, render

    found = inspect_model(model)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from rich.console import Console

        render(found, Console())
    return 0
