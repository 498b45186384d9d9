"""``optimize plaster MODEL.onnx``: FP32, FP16, INT8 and INT8 + 2:4 side by side, as the seven PLASTER figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli.model import DATA, EVAL_DATA, EVALUATE, SHAPE
from optimizer.cli.options.words import FUNCTION, SPEC


def plaster(
    model: Annotated[Path, Argument(help="The ONNX model to study.", metavar="MODEL.onnx", show_default=False)],
    data: Annotated[str | None, Option(metavar=SPEC, help=DATA)] = None,
    eval_data: Annotated[str | None, Option(metavar="PATH", help=EVAL_DATA)] = None,
    evaluate: Annotated[str | None, Option(metavar=FUNCTION, help=EVALUATE)] = None,
    target: Annotated[
        str, Option(metavar="cpu|native", help="Where to measure. Default: the GPU here, else the CPU.")
    ] = "",
    variants: Annotated[
        str,
        Option(
            metavar="VARIANTS",
            help="What to compare, comma-separated; the first is what the others are measured against.",
        ),
    ] = "fp32,fp16,int8,int8-2:4",
    task: Annotated[str, Option(metavar="resnet50|…", help="Show published results of this MLPerf task.")] = "",
    shape: Annotated[list[str] | None, Option(metavar="NAME=MIN:OPT:MAX", help=SHAPE)] = None,
    samples: Annotated[int, Option(metavar="N", help="How many samples to calibrate on.")] = 512,
    batch: Annotated[int, Option(metavar="N", help="Batch size at which throughput is timed.")] = 8,
    bound: Annotated[float | None, Option(metavar="MS", help="Latency bound for the 99th percentile.")] = None,
    seconds: Annotated[float, Option(metavar="SECONDS", help="Length of each timed loop.")] = 2.0,
    duration: Annotated[float, Option(metavar="SECONDS", help="Length of each LoadGen run; 0 for none.")] = 2.0,
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="DIR", help="Folder to write to. Default: MODEL.plaster.")
    ] = None,
    force: Annotated[
        bool, Option("--force", help="Make the bundles again, even if an earlier study left some.")
    ] = False,
    json: Annotated[bool, Option("--json", help="Print plaster.json and nothing else.")] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Print only warnings and the result.")] = False,
) -> int:
    """Measure a model in four precisions, on seven figures.

    Makes FP32, FP16, INT8 and INT8 with 2:4 sparsity, measures them in one run, and writes plaster.json and
    plaster.html (docs/plaster.md).
    """
    import sys

    from benchmarks.plaster.measure import StudySettings
    from benchmarks.plaster.text import show_study
    from graphs.files import to_json
    from optimizer.cli.output.progress import ProgressLines
    from optimizer.cli.process.invoked import command_line
    from optimizer.cli.process.isolated import WHEREABOUTS
    from optimizer.settings.given import listed
    from optimizer.settings.job import Settings
    from optimizer.verbs.plaster import plaster_study

    settings = Settings(
        targets=listed(target),
        data=data,
        eval_data=eval_data,
        evaluate=evaluate,
        shapes=tuple(shape or ()),
        samples=samples,
    )
    folder = (out or Path(f"{model.stem}.plaster")).absolute()
    with ProgressLines(only_warnings=quiet) as progress:
        study = plaster_study(
            model,
            settings,
            StudySettings(seconds=seconds, duration=duration, batch=batch, bound_ms=bound),
            folder,
            variants=listed(variants),
            task=task,
            force=force,
            listeners=[progress, WHEREABOUTS],
            command=command_line(),
            say=lambda text: None if quiet else print(text, file=sys.stderr),
        )
    if json:
        sys.stdout.buffer.write(to_json(study))
    else:
        from optimizer.cli.output.printing import console

        show_study(study, console(), folder)
    return 0
