"""Run the comparison: ``python -m studies.baselines.run --zoo FOLDER --out FOLDER``.

Every cell (a model, a tool, a configuration) is quantized in one process and evaluated in another. A cell that has its
JSON is not run again, so an interrupted run is taken up by the same command; a cell that failed is recorded with why.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.timing.conditions import read_conditions
from graphs.errors import BadInput
from graphs.files import read_json, write_json
from studies.baselines.names import MODELS, UNSEEN
from studies.baselines.results import Cell, Cost, Evaluation, Machine
from studies.baselines.tool import TOOLS, cells, load_tool

PACKAGES = ("enginewright", "onnxruntime", "nvidia-modelopt", "nncf", "onnx", "torch", "numpy")


def main() -> int:
    arguments = _arguments()
    for model in arguments.models:
        for tool, configuration in cells(arguments.tools):
            if arguments.configurations and configuration not in arguments.configurations:
                continue
            _run(arguments, Cell(model, tool, configuration, arguments.quick, _machine()))
    return 0


def _run(arguments: argparse.Namespace, cell: Cell) -> None:
    stem = arguments.out / cell.model / f"{cell.tool}-{cell.configuration}"
    result = stem.with_name(stem.name + ".cell.json")
    if result.exists() and read_json(result, Cell).quick == cell.quick:
        return
    stem.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    found = _measure(arguments, cell, stem)
    write_json(result, found)
    print(f"{time.perf_counter() - start:6.1f} s  {_line(found)}", flush=True)


def _measure(arguments: argparse.Namespace, cell: Cell, stem: Path) -> Cell:
    quantized = stem.with_name(stem.name + ".onnx")
    common = ["--zoo", str(arguments.zoo), "--cache", str(_cache(arguments.out)), *(["--quick"] if cell.quick else [])]
    step = ["quantize_cell", cell.model, cell.tool, cell.configuration, "--out", str(quantized)]
    if error := _child([*step, *common], stem, arguments.timeout):
        return replace(cell, error=f"quantization: {error}")
    cell = replace(cell, cost=read_json(quantized.with_suffix(".cost.json"), Cost))
    metric_of = "cpu" if cell.configuration in load_tool(cell.tool).FOR_CPU else "simulated"
    evaluation = stem.with_name(stem.name + ".evaluation.json")
    step = ["evaluate_cell", cell.model, str(quantized), "--out", str(evaluation), "--metric-of", metric_of]
    if error := _child([*step, *common], stem, arguments.timeout):
        return replace(cell, error=f"evaluation: {error}")
    return replace(cell, evaluation=read_json(evaluation, Evaluation))


def _child(command: list[str], stem: Path, timeout: float) -> str:
    """Run a module of this folder; its output goes to ``STEM.log``. Empty, or the last line of a failure."""
    module, *rest = command
    log = stem.with_name(f"{stem.name}.{module}.log")
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"studies.baselines.{module}", *rest],
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"took longer than {timeout:.0f} s"
    if done.returncode == 0:
        return ""
    return _reason(log.read_text(errors="replace")) or f"ended with status {done.returncode}"


def _reason(log: str) -> str:
    """The last line that names an exception, else the last line."""
    lines = log.strip().splitlines() or [""]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Fail\w*)\b.*:", line)]
    return (named or lines)[-1][:300]


def _cache(out: Path) -> Path:
    folder = out / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _machine() -> Machine:
    conditions = read_conditions()
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return Machine(conditions.cpu, conditions.cores, conditions.load_average, _versions(), date)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _line(cell: Cell) -> str:
    name = f"{cell.model} {cell.tool} {cell.configuration}:"
    evaluation = cell.evaluation
    if evaluation is None:
        return f"{name} {cell.error}"
    quality = evaluation.cpu if evaluation.metric_of == "cpu" else evaluation.simulated
    sqnr = f"{quality.sqnr_db:.1f} dB" if quality else "–"
    speedup = f"{evaluation.speedup:.2f}x" if evaluation.speedup else "–"
    metric = f"{evaluation.metric:.4f} (FP32 {evaluation.fp32_metric:.4f})"
    return f"{name} {metric}, {sqnr}, {evaluation.int8_mac_share:.0%} INT8, {speedup}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True, help="folder that fetch.py filled")
    parser.add_argument("--out", type=Path, required=True, help="folder for quantized models and results")
    parser.add_argument("--models", type=_choices((*MODELS, *UNSEEN)), default=list(MODELS), help="comma-separated")
    parser.add_argument("--tools", type=_choices(TOOLS), default=list(TOOLS), help="comma-separated")
    parser.add_argument("--configurations", type=lambda text: text.split(","), help="comma-separated; all by default")
    parser.add_argument("--quick", action="store_true", help="few samples: to see that it runs, not to quote")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for each half of a cell")
    return parser.parse_args()


def _choices(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        sys.exit(str(error))
