"""``optimize MODEL.onnx``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli.options.words import FUNCTION, SPEC

Model = Annotated[Path, Argument(help="The ONNX model to optimize.", metavar="MODEL.onnx", show_default=False)]
PRECISIONS = "fp32|fp16|bf16|int8|fp8|int8wo|int4|nvfp4|mxfp8|auto"
METHODS = "auto|minmax|entropy|percentile|mse"
TARGETS = "cpu,t4,a100,a10,l4,h100,h200,b200,blackwell,native"
RANGE = "NAME=MIN:OPT:MAX"
CORRECTIONS = "branches,channels,ranges,rounding,bias,fallback"

# What the help says of each option; TensorRT's own are in docs/engines.md.
PRECISION = (
    "Type of convolutions and matrix products; int8wo and int4: of their weights only. auto: int8 if it loses at most "
    "1 %, else fp16; with --max-drop the best of int8, fp8, fp16 and fp32 for each. Default: int8."
)
TARGET = "What to build engines for, comma-separated. Default: cpu, and native where a GPU is found."
DATA = "Sample inputs that INT8 ranges are calibrated on. Default: random values, and the report says so."
EVAL_DATA = "Inputs that accuracy is measured on, not used for calibration. Default: a part of --data."
PLAN = "The type each node computes in: a bundle's precision.json, edited. Nodes it does not name are decided as usual."
EVALUATE = "Your metric: function(infer) runs labelled data through infer and returns the score."
CALIBRATION = "How INT8 ranges are chosen. auto tries several and keeps the most accurate. Default: auto."
WITHOUT = (
    "INT8 accuracy corrections to leave out, comma-separated; with --sparsity also permutation and reconstruction. "
    "Default: none."
)
SAMPLES = "How many samples to calibrate on. Default: 512."
MAX_DROP = (
    "Largest loss against FP32, in --evaluate's metric or else in cosine similarity. If given, the cheapest mix of "
    "precisions within it is searched for. Default: 1%, without a search."
)
SPARSITY = (
    "2:4 prunes two of every four weights; 2:4-required refuses targets that gain nothing from it. Default: none."
)
SHAPE = "Smallest, usual and largest shape of an input with dynamic axes: x=1x3x64x64:8x3x64x64:32x3x64x64; repeatable."
BATCH_AXIS = "Does axis 0 of the inputs count samples (0) or not (none)? Default: auto, found out by running the model."
IO_PRECISION = "Float type of the inputs and outputs of the engines. Default: keep, the model's own."
LOADGEN = (
    "MLPerf LoadGen scenarios to measure: singlestream, multistream, server, offline. Default: singlestream,offline."
)
DURATION = "Length of each LoadGen measurement. Default: 2."
OUT = "Folder to write the bundle to. Default: MODEL.optimized."
OPTIMIZE_FOR = "latency|throughput|size|energy"
OPTIMIZED = "With --max-drop: which cost the search keeps lowest. Default: latency."
CONFIG = 'TOML file with any of these options (max-drop = "2%"); the command line wins.'
SEED = "Seed of all random choices, such as made-up inputs and which samples are held back. Default: 0."
JOBS = "How many engines to build at the same time. Default: one per core."
WORKSPACE = "TensorRT: scratch memory that a kernel may use. Default: the library's own."
LEVEL = "TensorRT: how long to search for fast kernels. Default: TensorRT's own, 3."
VERSION_COMPATIBLE = "TensorRT: the plan also runs under later versions."
HARDWARE_COMPATIBLE = "TensorRT: the plan also runs on other GPUs from Ampere on."
REFIT = "TensorRT: weights of the plan can be replaced without building it again."
STRIP_PLAN = "TensorRT: leave the weights out of the plan; they are put in by a refit before it runs."
WEIGHT_STREAMING = "TensorRT: weights may be larger than the GPU's memory."
PLUGIN = "TensorRT: library with plugins the model needs; repeatable."
BUILDER_OPTION = "TensorRT: any other builder setting, as tf32=off; repeatable."
TIME_LIMIT = "End a build that takes longer. Default: no limit."
MEMORY_LIMIT = "End a build that takes more memory. Default: no limit."
FORCE = "Do everything again, even if an earlier run left results."
JSON = "Print report.json to standard output, and nothing else."
QUIET = "Print only warnings and the result."
VERBOSE = "Print every note of the run."


def main_job(
    model: Model,
    precision: Annotated[str | None, Option(metavar=PRECISIONS, help=PRECISION)] = None,
    target: Annotated[str | None, Option(metavar=TARGETS, help=TARGET)] = None,
    data: Annotated[str | None, Option(metavar=SPEC, help=DATA)] = None,
    eval_data: Annotated[str | None, Option(metavar="PATH", help=EVAL_DATA)] = None,
    evaluate: Annotated[str | None, Option(metavar=FUNCTION, help=EVALUATE)] = None,
    plan: Annotated[Path | None, Option(metavar="FILE", help=PLAN)] = None,
    calibration: Annotated[str | None, Option(metavar=METHODS, help=CALIBRATION)] = None,
    without: Annotated[str | None, Option(metavar=CORRECTIONS, help=WITHOUT)] = None,
    samples: Annotated[int | None, Option(metavar="N", help=SAMPLES)] = None,
    max_drop: Annotated[str | None, Option(metavar="1%", help=MAX_DROP)] = None,
    optimize_for: Annotated[str | None, Option(metavar=OPTIMIZE_FOR, help=OPTIMIZED)] = None,
    sparsity: Annotated[str | None, Option(metavar="none|2:4|2:4-required", help=SPARSITY)] = None,
    shape: Annotated[list[str] | None, Option(metavar=RANGE, help=SHAPE)] = None,
    batch_axis: Annotated[str | None, Option(metavar="auto|0|none", help=BATCH_AXIS)] = None,
    io_precision: Annotated[str | None, Option(metavar="keep|fp32|fp16|bf16", help=IO_PRECISION)] = None,
    loadgen: Annotated[str | None, Option(metavar="SCENARIOS|none", help=LOADGEN)] = None,
    duration: Annotated[float | None, Option(metavar="SECONDS", help=DURATION)] = None,
    out: Annotated[Path | None, Option("-o", "--out", metavar="DIR", help=OUT)] = None,
    config: Annotated[Path | None, Option(metavar="FILE.toml", help=CONFIG)] = None,
    seed: Annotated[int | None, Option(metavar="N", help=SEED)] = None,
    jobs: Annotated[int | None, Option(metavar="N", help=JOBS)] = None,
    workspace: Annotated[int | None, Option(metavar="MIB", help=WORKSPACE)] = None,
    optimization_level: Annotated[int | None, Option(metavar="0..5", help=LEVEL)] = None,
    version_compatible: Annotated[bool, Option("--version-compatible", help=VERSION_COMPATIBLE)] = False,
    hardware_compatible: Annotated[bool, Option("--hardware-compatible", help=HARDWARE_COMPATIBLE)] = False,
    refit: Annotated[bool, Option("--refit", help=REFIT)] = False,
    strip_plan: Annotated[bool, Option("--strip-plan", help=STRIP_PLAN)] = False,
    weight_streaming: Annotated[bool, Option("--weight-streaming", help=WEIGHT_STREAMING)] = False,
    plugin: Annotated[list[Path] | None, Option(metavar="LIB.so", help=PLUGIN)] = None,
    builder_option: Annotated[list[str] | None, Option(metavar="NAME=VALUE", help=BUILDER_OPTION)] = None,
    build_time_limit: Annotated[float | None, Option(metavar="SECONDS", help=TIME_LIMIT)] = None,
    build_memory_limit: Annotated[int | None, Option(metavar="MIB", help=MEMORY_LIMIT)] = None,
    force: Annotated[bool, Option("--force", help=FORCE)] = False,
    json: Annotated[bool, Option("--json", help=JSON)] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help=QUIET)] = False,
    verbose: Annotated[bool, Option("-v", "--verbose", help=VERBOSE)] = False,
) -> int:
    """Make engines of an ONNX model: the main job.

    Calibrates, types the graph, builds an engine per target, checks its accuracy against FP32, measures it, and writes
    all of it to a folder, the bundle. `optimize MODEL.onnx` is short for `optimize model MODEL.onnx`.
    """
    given = {name: value for name, value in locals().items() if value is not None and value is not False}
    from optimizer.cli.options.config import read_config
    from optimizer.cli.options.shared import settings_of
    from optimizer.cli.process.running import run_job
    from optimizer.settings.job import Settings

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
