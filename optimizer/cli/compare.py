"""``optimize compare A B``: accuracy, latency and size of two bundles or models, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Side = Annotated[Path, typer.Argument(metavar="BUNDLE_OR_MODEL", show_default=False)]


def compare(
    first: Side,
    second: Side,
    data: Annotated[str, typer.Option(help="Inputs to compare on: PATH, module:function or random.")] = "random",
    samples: Annotated[int, typer.Option(help="How many samples to compare on.")] = 64,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Set two bundles or models side by side.

    Runs both on the same inputs, in turn: accuracy of the second against the first, latency, size; and how the GPU
    engines of two bundles differ.
    """
    import sys

    from graphs.files import to_json
    from optimizer.verbs.compare import compare_sides, render

    found = compare_sides(first, second, data, samples)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from optimizer.cli.printing import console

        render(found, console())
    return 0
