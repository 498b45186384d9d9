"""``optimize explain BUNDLE``: why each node has its precision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explain(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", show_default=False)],
    node: Annotated[
        str,
        typer.Option("--node", metavar="NAME", help="Only the node of this ONNX name, with the kernels that run it."),
    ] = "",
    target: Annotated[
        str, typer.Option("--target", help="The graph that this engine runs; model.onnx when left out.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Say why each node has its precision.

    Also what was done to the graph, and which kernels run a node on each target.
    """
    import sys

    from graphs.files import to_json
    from optimizer.verbs.explain import explain_bundle, render

    found = explain_bundle(bundle, node or None, target or None)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from optimizer.cli.printing import console

        render(found, console())
    return 0
