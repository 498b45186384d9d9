"""``optimize fleet MODEL.onnx …``: the main job for many models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli import model as job
from optimizer.cli.options.words import FUNCTION, SPEC

RAY = "Build engines on this Ray cluster: auto, HOST:PORT, ray://…, or local. Default: this machine, without Ray."
RAY_ENDS_S = 30.0
"""Seconds for what runs on other machines to be taken back once the command is to end. Chosen: four were enough for a
cluster of this machine."""
EACH = " {model} stands for the model's name, as in data/{model}."


def fleet(
    models: Annotated[
        list[Path], Argument(metavar="MODEL.onnx...", help="The ONNX models to optimize.", show_default=False)
    ],
    target: Annotated[str | None, Option("--target", "--targets", metavar="cpu,t4,…", help=job.TARGET)] = None,
    precision: Annotated[str | None, Option(metavar=job.PRECISIONS, help=job.PRECISION)] = None,
    data: Annotated[str | None, Option(metavar=SPEC, help=job.DATA + EACH)] = None,
    eval_data: Annotated[str | None, Option(metavar="PATH", help=job.EVAL_DATA + EACH)] = None,
    evaluate: Annotated[str | None, Option(metavar=FUNCTION, help=job.EVALUATE + EACH)] = None,
    max_drop: Annotated[str | None, Option(metavar="1%", help=job.MAX_DROP)] = None,
    loadgen: Annotated[str | None, Option(metavar="SCENARIOS|none", help=job.LOADGEN)] = None,
    out: Annotated[Path, Option("-o", "--out", metavar="DIR", help="Folder of the bundles and fleet.json.")] = Path(
        "fleet"
    ),
    ray: Annotated[str, Option(metavar="ADDRESS", help=RAY)] = "",
    config: Annotated[Path | None, Option(metavar="FILE.toml", help=job.CONFIG)] = None,
    force: Annotated[bool, Option("--force", help=job.FORCE)] = False,
    json: Annotated[bool, Option("--json", help="Print fleet.json to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help=job.QUIET)] = False,
) -> int:
    """Make engines of many models.

    Each is imported and calibrated once; its engines are built on this machine, or where a Ray cluster has the GPU.
    """
    import signal
    import sys

    from graphs.files import to_json
    from optimizer.cli.options.config import read_config
    from optimizer.cli.options.shared import settings_of
    from optimizer.cli.output.printing import console
    from optimizer.cli.output.progress import ProgressLines
    from optimizer.cli.process.endings import PATIENCE
    from optimizer.cli.process.isolated import WHEREABOUTS
    from optimizer.events import Event, Listener, Note
    from optimizer.settings.job import Settings
    from optimizer.verbs.fleet import render, run_fleet

    if ray:
        PATIENCE.grant(signal.SIGTERM, RAY_ENDS_S)
    asked = {
        "target": target,
        "precision": precision,
        "data": data,
        "eval_data": eval_data,
        "evaluate": evaluate,
        "max_drop": max_drop,
        "loadgen": loadgen,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    from_file = read_config(config, job.main_job) if config else {}
    settings = settings_of(given, settings_of(from_file, Settings()))
    with ProgressLines(only_warnings=quiet) as view:

        def listeners(model: Path) -> list[Listener]:
            """Name the model before the first line about it."""
            told = False

            def listen(event: Event) -> None:
                nonlocal told
                if not told and (not quiet or (isinstance(event, Note) and event.level == "warning")):
                    print(model, file=sys.stderr, flush=True)
                    told = True
                view(event)

            return [listen, WHEREABOUTS]

        found = run_fleet(models, settings, out, ray=ray, force=force, listeners=listeners)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        render(found, console())
    return found.exit_code
