"""Take the demo model in the dialects of other tools, and judge what becomes of it. Writes a table.

    python -m studies.quantized_models.run [--qat qat.onnx] [--images 10000] [NAME ...]

Top-1 on Fashion-MNIST's test images: of the model as it came (ONNX Runtime), of TensorRT's form (simulated), of the
CPU's form (measured). SQNR is TensorRT's form beside the model as it came. Times are CPU time of a batch of 8 on one
thread, the engines in turn in one process: as it came, in the CPU's form, and as the float model.
``--qat`` names what ``studies.quantized_models.train_qat`` has written.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.report.model import Report
from engines.engine import Engine
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.tensorrt.library import installed
from optimizer import optimize
from optimizer.demo.fashion import HERE, MODEL, normalise
from optimizer.simulation.run import simulated
from studies.quantized_models.dialects import DIALECTS, Images, make

CALIBRATED, TIMED, ROUNDS = 160, 8, 60  # images; images of a timed batch; timings of each engine

_HEAD = (
    "| came as | top-1 as it came | TensorRT's form | CPU's form | SQNR, dB | MACs in INT8 | plans | "
    "CPU ms: came / ours / float |"
)


@dataclass(frozen=True)
class Row:
    """Top-1 as it came, in TensorRT's form and in the CPU's; milliseconds as it came, in the CPU's form, in float."""

    name: str
    told: str
    top1: tuple[float, float, float]
    sqnr_db: float
    int8_share: float
    milliseconds: tuple[float, float, float]
    built: str


def judge(name: str, path: Path, folder: Path, tested: tuple[Images, np.ndarray]) -> Row:
    """One model, optimized in ``folder``."""
    np.savez(folder / "data.npz", input=_calibration())
    targets = ["cpu", "t4", "a100"] if installed("tensorrt_rtx") else ["cpu", "t4"]
    report: Report = optimize(
        path,
        data=str(folder / "data.npz"),
        targets=targets,
        loadgen=[],
        cpu_form="int8",
        out=folder / "out",
    ).report
    cpu, typed = folder / "out" / "engines" / "cpu" / "model.onnx", folder / "out" / "model.onnx"
    with ExitStack() as stack:
        engines = [stack.enter_context(OnnxRuntimeEngine(item, threads=1)) for item in (path, cpu, MODEL)]
        gpu = stack.enter_context(simulated(typed))
        top1 = _top1(engines[0], *tested), _top1(gpu, *tested), _top1(engines[1], *tested)
        times = _times(engines, tested[0][:TIMED])
    assert report.accuracy is not None
    sqnr_db = report.accuracy.outputs["logits"].sqnr_db
    assert sqnr_db is not None
    return Row(
        name,
        report.model.quantization,
        top1,
        sqnr_db,
        report.precision.int8_mac_share or 0.0,
        (times[0], times[1], times[2]),
        ", ".join(target for target, row in report.targets.items() if row.status == "built"),
    )


def _calibration() -> Images:
    return normalise(np.load(HERE / "fashion_calibration.npz")["images"][:CALIBRATED, None])


def _top1(engine: Engine, images: Images, labels: np.ndarray) -> float:
    right = 0
    for first in range(0, len(images), 100):
        found = engine.infer({"input": images[first : first + 100]})["logits"]
        right += int((found.argmax(1) == labels[first : first + 100]).sum())
    return right / len(images)


def _times(engines: list[OnnxRuntimeEngine], images: Images) -> list[float]:
    """Median CPU milliseconds of each, in turn."""
    taken: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        for engine, seconds in zip(engines, taken, strict=True):
            before = time.process_time()
            engine.infer({"input": images})
            seconds.append(time.process_time() - before)
    return [1000 * float(np.median(seconds)) for seconds in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names; all dialects without")
    parser.add_argument("--qat", type=Path, help="a model that studies.quantized_models.train_qat has written")
    parser.add_argument("--images", type=int, default=10_000)
    asked = parser.parse_args()
    test = np.load(HERE / "fashion_test.npz")
    tested = normalise(test["images"][: asked.images, None]), test["labels"][: asked.images]
    makers: dict[str, Callable[[Path], Path]] = {}
    if asked.qat is not None:
        makers["Q/DQ for TensorRT, trained (QAT)"] = lambda _: asked.qat
    makers |= {name: partial(_made, name) for name in DIALECTS}
    print(_HEAD)
    print(re.sub("[^|]+", "---", _HEAD))
    for name, maker in makers.items():
        if asked.names and not any(part in name for part in asked.names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = judge(name, maker(Path(folder)), Path(folder), tested)
        came, gpu, cpu = (f"{value:.4f}" for value in row.top1)
        milliseconds = " / ".join(f"{value:.2f}" for value in row.milliseconds)
        print(
            f"| {row.name} | {came} | {gpu} | {cpu} | {row.sqnr_db:.1f} | {row.int8_share:.0%} | {row.built} | "
            f"{milliseconds} |",
            flush=True,
        )


def _made(name: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    make(name, path, _calibration())
    return path


if __name__ == "__main__":
    main()
