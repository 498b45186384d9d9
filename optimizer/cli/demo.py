"""``optimize demo``: the main job on a real model with real labelled data, no arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.model import FORCE, JSON, QUIET, VERBOSE

TARGET = "What to build engines for, comma-separated. Default: cpu,t4,a100, and native where a GPU is found."


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write the bundle to.")] = Path(
        "demo.optimized"
    ),
    target: Annotated[str | None, typer.Option(metavar="cpu,t4,…", help=TARGET)] = None,
    force: Annotated[bool, typer.Option("--force", help=FORCE)] = False,
    json: Annotated[bool, typer.Option("--json", help=JSON)] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help=QUIET)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help=VERBOSE)] = False,
) -> int:
    """Do the main job on a model that comes with the tool.

    A Fashion-MNIST ResNet with 10,000 labelled test images: engines for CPU, T4 and A100, and for the GPU that is here.
    """
    from engines.targets.target import CPU
    from optimizer.cli.process.running import run_job
    from optimizer.demo import fashion
    from optimizer.settings.default_targets import default_targets
    from optimizer.settings.given import listed
    from optimizer.settings.job import Settings

    functions = f"{fashion.__name__}:"
    settings = Settings(
        targets=listed(target) if target else default_targets((CPU.name, "t4", "a100")),
        data=f"{functions}calibration",
        eval_data=f"{functions}held_back",
        evaluate=f"{functions}top1",
        samples=256,
    )
    return run_job(fashion.MODEL, settings, out=out, force=force, as_json=json, quiet=quiet, verbose=verbose)
