"""``optimize update BUNDLE NEW.onnx``: the bundle of a retrained model, by what an earlier one keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli.model import EVALUATE, FORCE, JSON, OUT, QUIET, VERBOSE
from optimizer.cli.options.words import FUNCTION, SPEC

DATA = "Sample inputs that the ranges are checked on, in place of the bundle's own --data."
EVAL_DATA = "Inputs that accuracy is measured on, in place of the bundle's own."
ALL_SAMPLES = "Score every form on all samples of --evaluate. Default: on as many as the accuracy budget needs."
LOADGEN = "MLPerf LoadGen scenarios to measure. Default: none, for weights do not change the speed of a graph."


def update(
    bundle: Annotated[
        Path, Argument(metavar="BUNDLE", help="The bundle of the model as it was before.", show_default=False)
    ],
    model: Annotated[Path, Argument(metavar="NEW.onnx", help="The same graph with other weights.", show_default=False)],
    out: Annotated[Path | None, Option("-o", "--out", metavar="DIR", help=OUT.replace("MODEL", "NEW"))] = None,
    data: Annotated[str | None, Option(metavar=SPEC, help=DATA)] = None,
    eval_data: Annotated[str | None, Option(metavar="PATH", help=EVAL_DATA)] = None,
    evaluate: Annotated[str | None, Option(metavar=FUNCTION, help=f"{EVALUATE} Default: the bundle's own.")] = None,
    all_samples: Annotated[bool, Option("--all-samples", help=ALL_SAMPLES)] = False,
    loadgen: Annotated[str, Option(metavar="SCENARIOS|none", help=LOADGEN, show_default=False)] = "none",
    force: Annotated[bool, Option("--force", help=FORCE)] = False,
    json: Annotated[bool, Option("--json", help=JSON)] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help=QUIET)] = False,
    verbose: Annotated[bool, Option("-v", "--verbose", help=VERBOSE)] = False,
) -> int:
    """Make the bundle of a retrained model.

    Takes over settings, precisions, ranges and the decisions of calibration from BUNDLE. Ranges are checked on samples,
    and calibrated again where they do not fit. Accuracy is checked against the new model's own FP32.
    """
    from optimizer.cli.process.invoked import command_line
    from optimizer.cli.process.running import run_and_print
    from optimizer.updating import update as update_bundle

    return run_and_print(
        lambda listeners: update_bundle(
            bundle,
            model,
            out=out,
            data=data,
            eval_data=eval_data,
            evaluate=evaluate,
            all_samples=all_samples,
            loadgen=loadgen,
            force=force,
            listeners=listeners,
            command=command_line(),
        ),
        as_json=json,
        quiet=quiet,
        verbose=verbose,
    )
