"""``optimize MODEL.onnx``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Model = Annotated[Path, Argument(help="The ONNX model.", metavar="MODEL.onnx", show_default=False)]
PRECISIONS = "fp32|fp16|bf16|int8|fp8|auto"
METHODS = "auto|minmax|entropy|percentile|mse"
TARGETS = "cpu,t4,a100,a10,l4,h100,h200,b200,blackwell,native"
SPEC = "PATH|module:function|random"
RANGE = "NAME=MIN:OPT:MAX"
CORRECTIONS = "branches,channels,ranges,rounding,bias,fallback"


def main_job(
    model: Model,
    precision: Annotated[str | None, Option(metavar=PRECISIONS, help="Of the heavy nodes. Default: int8.")] = None,
    target: Annotated[str | None, Option(metavar=TARGETS, help="Default: cpu; native too with a GPU.")] = None,
    data: Annotated[str | None, Option(metavar=SPEC, help="Calibration inputs. Default: random.")] = None,
    eval_data: Annotated[str | None, Option(metavar="PATH", help="Held-back inputs. Default: part of --data.")] = None,
    evaluate: Annotated[str | None, Option(metavar="file.py:function", help="Task metric: function(infer).")] = None,
    calibration: Annotated[str | None, Option(metavar=METHODS, help="How ranges are chosen. Default: auto.")] = None,
    without: Annotated[str | None, Option(metavar=CORRECTIONS, help="INT8 corrections to leave out.")] = None,
    samples: Annotated[int | None, Option(metavar="N", help="Calibration samples. Default: 512.")] = None,
    max_drop: Annotated[str | None, Option(metavar="1%", help="Accuracy budget against FP32. Default: 1%.")] = None,
    sparsity: Annotated[str | None, Option(metavar="none|2:4", help="2:4 prunes weights by magnitude.")] = None,
    shape: Annotated[list[str] | None, Option(metavar=RANGE, help="Of a dynamic input; repeatable.")] = None,
    batch_axis: Annotated[
        str | None, Option(metavar="auto|0|none", help="Is axis 0 a batch? Default: tried out.")
    ] = None,
    loadgen: Annotated[str | None, Option(metavar="SCENARIOS|none", help="Default: singlestream,offline.")] = None,
    duration: Annotated[float | None, Option(metavar="SECONDS", help="Per LoadGen scenario. Default: 2.")] = None,
    out: Annotated[Path | None, Option("-o", "--out", help="Bundle folder. Default: MODEL.optimized.")] = None,
    config: Annotated[Path | None, Option(help="TOML file of these options; the command line wins.")] = None,
    seed: Annotated[int | None, Option(metavar="N", help="Of everything that draws. Default: 0.")] = None,
    jobs: Annotated[int | None, Option(metavar="N", help="Parallel builds. Default: one per core.")] = None,
    workspace: Annotated[int | None, Option(metavar="MIB", help="TensorRT: scratch memory of a kernel.")] = None,
    optimization_level: Annotated[int | None, Option(metavar="0..5", help="TensorRT: effort of a build.")] = None,
    version_compatible: Annotated[bool, Option("--version-compatible", help="Runs on later TensorRT, too.")] = False,
    hardware_compatible: Annotated[bool, Option("--hardware-compatible", help="Runs on Ampere and later.")] = False,
    refit: Annotated[bool, Option("--refit", help="TensorRT: takes new weights without a build.")] = False,
    strip_plan: Annotated[bool, Option("--strip-plan", help="TensorRT: a plan without weights, for refit.")] = False,
    weight_streaming: Annotated[bool, Option("--weight-streaming", help="Weights may exceed GPU memory.")] = False,
    plugin: Annotated[list[Path] | None, Option(metavar="LIB.so", help="TensorRT plugins; repeatable.")] = None,
    builder_option: Annotated[list[str] | None, Option(metavar="NAME=VALUE", help="Any other; repeatable.")] = None,
    build_time_limit: Annotated[float | None, Option(metavar="SECONDS", help="Per build. Default: none.")] = None,
    build_memory_limit: Annotated[int | None, Option(metavar="MIB", help="Per build. Default: none.")] = None,
    force: Annotated[bool, Option("--force", help="Start again; take up nothing.")] = False,
    json: Annotated[bool, Option("--json", help="Print report.json and nothing else.")] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Only warnings and the result.")] = False,
    verbose: Annotated[bool, Option("-v", "--verbose", help="Every note.")] = False,
) -> int:
    """Import, calibrate, type, build, prove, measure; leave a bundle."""
    given = {name: value for name, value in locals().items() if value is not None and value is not False}
    from optimizer.cli.config import read_config
    from optimizer.cli.options import settings_of
    from optimizer.cli.running import run_job
    from optimizer.settings import Settings

    from_file = read_config(config, main_job) if config else {}
    settings = settings_of(given, settings_of(from_file, Settings()))
    chosen = {**from_file, **given}
    return run_job(
        model,
        settings,
        out=chosen.get("out"),
        force="force" in chosen,
        as_json="json" in chosen,
        quiet="quiet" in chosen,
        verbose="verbose" in chosen,
    )
