"""``optimize explain BUNDLE``: why each node has its precision, what that costs, and where the error is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options.words import BUNDLE

SORTS = "error|time|macs|drift|graph"


def explain(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help=BUNDLE, show_default=False)],
    node: Annotated[
        str,
        typer.Option("--node", metavar="NAME", help="Only the node of this ONNX name, with the kernels that run it."),
    ] = "",
    target: Annotated[
        str,
        typer.Option("--target", metavar="TARGET", help="The graph that this engine runs; model.onnx when left out."),
    ] = "",
    sort: Annotated[
        str, typer.Option("--sort", metavar=SORTS, help="What comes first: the largest error, time, MACs, drift.")
    ] = "error",
    top: Annotated[int, typer.Option("--top", metavar="N", min=0, help="How many nodes to print; 0: all.")] = 40,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Show each node's precision, cost and error.

    Also why it has that precision, where the error begins, what was done to the graph, and which kernels run a node on
    each target.
    """
    import sys

    from graphs.errors import BadInput
    from graphs.files import to_json
    from optimizer.verbs.explain.bundle import explain_bundle
    from optimizer.verbs.explain.text import orders, render, render_node

    found = explain_bundle(bundle, node or None, target or None)
    if sort not in orders(found):
        raise BadInput(f"unknown value {sort!r}", where="--sort", expected=f"one of {', '.join(orders(found))}")
    if json:
        sys.stdout.buffer.write(to_json(found))
        return 0
    from optimizer.cli.output.printing import console

    if node:
        render_node(found, console())
    else:
        render(found, console(), sort, top)
    return 0
