"""What a statistics pass costs, beside bare FP32 inference of the same samples.

    python -m studies.calibration_cost MODEL.onnx DATA [--samples 32 512]

Every figure comes from a process of its own, so that peak memory is its own. The first 32 samples of DATA are read
beforehand and repeated: reading images is not what is measured. ``statistics`` holds histograms of every activation
that enters a Conv, Gemm, MatMul or Add; ``ranges`` is one choice of all ranges by each method.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import onnx_ir as ir

from calibration.collect import collect
from calibration.ranges import METHODS, choose_ranges
from calibration.sources.open import open_source
from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine

QUANTIZED = {"Conv", "Gemm", "MatMul", "Add"}
DISTINCT = 32


def activations(model: Path) -> list[str]:
    """Float inputs of the nodes that int8 is for."""
    values = (value for node in ir.load(model).graph if node.op_type in QUANTIZED for value in node.inputs)
    floats = {ir.DataType.FLOAT, ir.DataType.FLOAT16, None}
    return list(
        dict.fromkeys(str(v.name) for v in values if v is not None and v.const_value is None and v.dtype in floats)
    )


def read(model: Path, data: str) -> list[Feed]:
    with OnnxRuntimeEngine(model) as engine:
        return list(islice(open_source(data, engine.inputs, samples=DISTINCT).samples(), DISTINCT))


def bare(model: Path, samples: Iterator[Feed]) -> dict[str, float]:
    with OnnxRuntimeEngine(model) as engine:
        start = time.perf_counter()
        for sample in samples:
            engine.infer(sample)
        return {"seconds": time.perf_counter() - start}


def statistics(model: Path, samples: Iterator[Feed]) -> dict[str, float]:
    bound: list[int] = []
    start = time.perf_counter()
    found = collect(model, activations(model), samples, batchable=True, on_plan=lambda p: bound.append(p.memory_bound))
    result = {"seconds": time.perf_counter() - start, "bound_mb": bound[0] / 1e6}
    for method in METHODS:
        start = time.perf_counter()
        choose_ranges(found, method, model_digest="", data_digest="", calibrated=True)
        result[method] = time.perf_counter() - start
    return result


def measured(
    job: Callable[[Path, Iterator[Feed]], dict[str, float]], model: Path, data: str, count: int
) -> dict[str, float]:
    """Run ``job`` over ``count`` samples; its figures, CPU seconds, peak memory and memory before it began, in MB."""
    feeds = read(model, data)
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, time.process_time()
    figures = job(model, islice(cycle(feeds), count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {**figures, "cpu": time.process_time() - cpu, "before_mb": before, "peak_mb": peak}


def in_child(*arguments: object) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--samples", type=int, nargs="+", default=[32, 512])
    options = parser.parse_args()
    for count in options.samples:
        plain, ours = (in_child(job, options.model, options.data, count) for job in (bare, statistics))
        print(f"{count} samples")
        print(f"  bare FP32   {plain['seconds'] / count * 1e3:6.2f} ms/sample, {plain['cpu'] / count * 1e3:6.2f} cpu")
        print(f"  statistics  {ours['seconds'] / count * 1e3:6.2f} ms/sample, {ours['cpu'] / count * 1e3:6.2f} cpu")
        print(f"  ratio       {ours['seconds'] / plain['seconds']:6.2f}")
        print(
            f"  memory      {ours['peak_mb']:6.0f} MB peak, {ours['before_mb']:.0f} before, "
            f"bound {ours['bound_mb']:.0f} more"
        )
        print("  ranges      " + ", ".join(f"{method} {ours[method]:.2f} s" for method in METHODS))
        entropy = (ours["seconds"] + ours["entropy"]) / count * 1e3
        print(f"  entropy calibration {entropy:.2f} ms/sample")


if __name__ == "__main__":
    main()
