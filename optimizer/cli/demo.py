"""``optimize demo``: the main job on a real model with real labelled data, no arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Bundle folder.")] = Path("demo.optimized"),
    target: Annotated[str, typer.Option(help="Comma-separated targets.")] = "cpu,t4,a100",
    force: Annotated[bool, typer.Option("--force", help="Start again; take up nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print report.json and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose")] = False,
) -> int:
    """The main job on a Fashion-MNIST ResNet with 10,000 labelled test images: CPU, T4 and A100 engines."""
    from optimizer.cli.running import run_job
    from optimizer.demo import fashion
    from optimizer.settings import Settings, listed

    functions = f"{fashion.__name__}:"
    settings = Settings(
        targets=listed(target),
        data=f"{functions}calibration",
        eval_data=f"{functions}held_back",
        evaluate=f"{functions}top1",
        samples=256,
    )
    return run_job(fashion.MODEL, settings, out=out, force=force, as_json=json, quiet=quiet, verbose=verbose)
