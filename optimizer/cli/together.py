"""``optimize together BUNDLE BUNDLE …``: engines at once, each one's share of what it does alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def together(
    bundles: Annotated[
        list[Path], Argument(metavar="BUNDLE...", help="The bundles whose engines run together.", show_default=False)
    ],
    target: Annotated[
        str | None,
        Option(
            metavar="cpu|native|…",
            help="Which engine of each bundle; on a GPU each needs a MIG instance. Default: the CPU's, else that of "
            "the GPU here.",
        ),
    ] = None,
    copies: Annotated[int, Option(metavar="N", help="How many engines of each bundle to run.")] = 1,
    batch: Annotated[int, Option(metavar="N", help="Samples per inference.")] = 8,
    seconds: Annotated[
        float, Option(metavar="SECONDS", help="How long each engine runs per round, alone and then together.")
    ] = 2.0,
    rounds: Annotated[int, Option(metavar="N", help="How many rounds; medians are taken.")] = 3,
    json: Annotated[bool, Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Run several engines at once.

    Each in a process of its own: which share of its throughput alone does each engine keep?
    """
    import sys

    from graphs.files import to_json
    from optimizer.verbs.together import bench_together, render

    found = bench_together(
        bundles,
        target=target,
        copies=copies,
        batch=batch,
        seconds=seconds,
        rounds=rounds,
        say=lambda text: print(text, file=sys.stderr),
    )
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from optimizer.cli.output.printing import console

        render(found, console())
    return 0
