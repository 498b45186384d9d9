"""``optimize plaster MODEL.onnx``: FP32, FP16, INT8 and INT8 + 2:4 side by side, as the seven PLASTER figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli.model import SPEC


def plaster(
    model: Annotated[Path, Argument(help="The ONNX model.", metavar="MODEL.onnx", show_default=False)],
    data: Annotated[str | None, Option(metavar=SPEC, help="Calibration inputs, as for the main job.")] = None,
    eval_data: Annotated[str | None, Option(metavar="PATH", help="Held-back inputs. Default: part of --data.")] = None,
    evaluate: Annotated[str | None, Option(metavar="file.py:function", help="Task metric: function(infer).")] = None,
    target: Annotated[str, Option(metavar="cpu|native", help="Default: the GPU here, else the CPU.")] = "",
    variants: Annotated[str, Option(help="Which precisions; the first is the baseline.")] = "fp32,fp16,int8,int8-2:4",
    task: Annotated[str, Option(metavar="resnet50|…", help="Show published results of this MLPerf task.")] = "",
    shape: Annotated[list[str] | None, Option(metavar="NAME=MIN:OPT:MAX", help="Of a dynamic input.")] = None,
    samples: Annotated[int, Option(metavar="N", help="Calibration samples.")] = 512,
    batch: Annotated[int, Option(metavar="N", help="Batch that throughput is timed at.")] = 8,
    bound: Annotated[float | None, Option(metavar="MS", help="Latency bound that p99 is judged by.")] = None,
    seconds: Annotated[float, Option(help="Per timed loop and engine.")] = 2.0,
    duration: Annotated[float, Option(help="Per LoadGen run; 0 for none.")] = 2.0,
    out: Annotated[Path | None, Option("-o", "--out", help="Folder. Default: MODEL.plaster.")] = None,
    force: Annotated[bool, Option("--force", help="Make the bundles again.")] = False,
    json: Annotated[bool, Option("--json", help="Print plaster.json and nothing else.")] = False,
    quiet: Annotated[bool, Option("-q", "--quiet")] = False,
) -> int:
    """Make FP32, FP16, INT8 and 2:4 variants, measure them side by side, write plaster.json and plaster.html."""
    import sys

    from benchmarks.plaster.measure import StudySettings
    from benchmarks.plaster.text import show_study
    from graphs.files import to_json
    from optimizer.cli.invoked import command_line
    from optimizer.cli.progress import ProgressLines
    from optimizer.settings import Settings, listed
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
            listeners=[progress],
            command=command_line(),
            say=lambda text: None if quiet else print(text, file=sys.stderr),
        )
    if json:
        sys.stdout.buffer.write(to_json(study))
    else:
        from rich.console import Console

        show_study(study, Console(), folder)
    return 0
