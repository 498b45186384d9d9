"""What a statistics pass costs, beside bare FP32 inference of the same samples; and what a further sample costs.

    python -m studies.calibration_cost MODEL.onnx DATA [--samples 32 512] [--further]

Every figure comes from a process of its own, so that peak memory is its own. The first 32 samples of DATA are read
beforehand and repeated: reading images is not what is measured. ``statistics`` holds histograms of every activation
that enters a Conv, Gemm, MatMul or Add; ``ranges`` is one choice of all ranges by each method.

``--further`` compares what one more sample costs, the difference of two runs over that of their samples: a job that
calibrates for TensorRT and the CPU, all corrections made, and onnxruntime's entropy calibration, which makes none.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from calibration.collect import collect
from calibration.ranges import METHODS, choose_ranges
from calibration.sources.open import open_source
from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.reading.macs import count_macs
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.quantization.codes.scheme import TENSORRT, for_this_cpu
from optimizer.quantization.observing.calibrating import Calibrator, Known
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.stages.forms.calibrated import AUTO_METHODS

MORE = (256, 512)
"""Samples of ours between which a further one is costed: corrections look at no more than 160."""
MORE_OF_THEIRS = (16, 64)
"""Of onnxruntime's, which keeps every activation of every sample in memory: some 30 MB each of MobileNetV2's."""
Job: TypeAlias = "Callable[[Path, Iterator[Feed]], dict[str, float]]"
QUANTIZED = {"Conv", "Gemm", "MatMul", "Add"}
DISTINCT = 32  # samples held in memory, given out in turn


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


def both_schemes(model: Path, samples: Iterator[Feed]) -> dict[str, float]:
    """Everything that the main job does with calibration data, for both of its INT8 graphs."""
    schemes = TENSORRT, for_this_cpu()
    feeds, known = list(samples), Known()
    known.expect(schemes)
    graph = import_model(model).model
    clean(graph)
    costs = count_macs(graph, {name: array.shape for name, array in feeds[0].items()})
    start = time.perf_counter()
    for scheme in schemes:
        calibrator = Calibrator(lambda: feeds, batchable=False, methods=AUTO_METHODS, known=known)
        settings = QuantizeSettings(scheme=scheme, costs={name: cost.macs for name, cost in costs.items() if cost.macs})
        prepare(graph, calibrator, settings, lambda _: None)
    return {"seconds": time.perf_counter() - start}


def onnxruntime_entropy(model: Path, samples: Iterator[Feed]) -> dict[str, float]:
    """Its collection of data and its ranges, both of which grow with the number of samples."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    class Reader:
        def get_next(self) -> Feed | None:
            return next(samples, None)

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(
            model, sorted(QUANTIZED), augmented_model_path=augmented, calibrate_method=CalibrationMethod.Entropy
        )
        calibrator.collect_data(Reader())
        calibrator.compute_data()
        return {"seconds": time.perf_counter() - start}


def further(job: Job, model: Path, data: str, counts: Sequence[int]) -> float:
    """Seconds that one more sample takes."""
    fewer, more = (in_child(job, model, data, count)["seconds"] for count in counts)
    return (more - fewer) / (counts[1] - counts[0])


def measured(job: Job, model: Path, data: str, count: int) -> dict[str, float]:
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
    parser.add_argument("--further", action="store_true", help="what one more sample costs, beside onnxruntime's")
    options = parser.parse_args()
    if options.further:
        ours = further(both_schemes, options.model, options.data, MORE)
        theirs = further(onnxruntime_entropy, options.model, options.data, MORE_OF_THEIRS)
        print(f"one more sample: {ours * 1e3:.1f} ms for both schemes, onnxruntime entropy {theirs * 1e3:.1f} ms")
        print(f"ratio {ours / theirs:.3f}")
        return
    for count in options.samples:
        plain, found = (in_child(job, options.model, options.data, count) for job in (bare, statistics))
        print(f"{count} samples")
        print(f"  bare FP32   {plain['seconds'] / count * 1e3:6.2f} ms/sample, {plain['cpu'] / count * 1e3:6.2f} cpu")
        print(f"  statistics  {found['seconds'] / count * 1e3:6.2f} ms/sample, {found['cpu'] / count * 1e3:6.2f} cpu")
        print(f"  ratio       {found['seconds'] / plain['seconds']:6.2f}")
        print(
            f"  memory      {found['peak_mb']:6.0f} MB peak, {found['before_mb']:.0f} before, "
            f"bound {found['bound_mb']:.0f} more"
        )
        print("  ranges      " + ", ".join(f"{method} {found[method]:.2f} s" for method in METHODS))
        entropy = (found["seconds"] + found["entropy"]) / count * 1e3
        print(f"  entropy calibration {entropy:.2f} ms/sample")


if __name__ == "__main__":
    main()
