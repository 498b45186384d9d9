"""``optimize compare A B``: accuracy, latency and size of two bundles or models, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options.words import FUNCTION, SPEC

SIDES = "Two models or bundles; the second is judged against the first."
Side = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.onnx|BUNDLE",
        help=SIDES,
        show_default=False,
    ),
]


def compare(
    first: Side,
    second: Side,
    data: Annotated[
        str,
        typer.Option(metavar=SPEC, help="Inputs to compare on."),
    ] = "random",
    samples: Annotated[int, typer.Option(metavar="N", help="How many samples to compare on.")] = 64,
    evaluate: Annotated[str | None, typer.Option(metavar=FUNCTION, help="Score both with your own metric.")] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit code 3 if this holds; repeatable. p50, p90, p99, size or metric of the second, as a value or "
            "a change from the first (p99>+5%, size>20MB, metric<-0.5%); sqnr, cosine, agreement or max_abs of the "
            "second against the first (sqnr<40).",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Set two bundles or models side by side.

    Runs both in turn on the same inputs: accuracy of the second against the first, latency and size; and how the GPU
    engines of two bundles differ. With --fail-if it is a gate: exit code 3 if one of the conditions holds.
    """
    import sys

    from graphs.files import to_json
    from optimizer.verbs.compare.sides import compare_sides
    from optimizer.verbs.compare.text import render
    from optimizer.verbs.gates import gate

    gates = [gate(text) for text in fail_if or ()]
    found = compare_sides(first, second, data, samples, evaluate=evaluate, gates=gates)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from optimizer.cli.output.printing import console

        render(found, console())
    return 0 if found.ok else 3
