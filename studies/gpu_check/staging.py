"""What filling pinned memory in pieces gains: ``python -m studies.gpu_check.staging BUNDLE TARGET``.

``TARGET`` is a GPU that is here. Random inputs of every batch are staged in turns: at once by one thread, and in pieces
by several (``engines/pieces.py``). Printed are medians: the latency of a batch alone, its copy to the GPU between CUDA
events, which waits for pinned memory to be filled, and samples a second with two batches in flight.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.batching import repeat_to_batch
from benchmarks.in_flight import Train, device_latency
from engines import pieces
from engines.engine import Feed
from engines.open import open_engine
from engines.parallel import available_cores
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from graphs.errors import BadInput, EnginewrightError
from optimizer.bundle import Bundle
from optimizer.verbs.usual_inputs import usual_inputs

TURNS, RUNS, BATCHES = 3, 20, 16
"""Turns of each way, runs of a batch alone in one, and batches that are in flight after each other. Chosen."""
AT_ONCE = 1 << 62
"""Bytes that no input has: none is staged in pieces."""
WAYS = {"at once": AT_ONCE, "in pieces": pieces.LARGE_BYTES}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("target")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128])
    asked = parser.parse_args(arguments)
    try:
        bundle = Bundle(asked.bundle)
        folder = bundle.engine_directory(asked.target)
        with open_engine(folder, gpu=GpuSettings(slots=2)) as engine:
            if not isinstance(engine, TensorRtEngine):
                raise BadInput("is no engine of a GPU", where=str(folder))
            sample = next(iter(usual_inputs(folder, engine.inputs, bundle.path / "model.onnx", 1).samples()))
            print(f"{available_cores()} cores, {pieces.MOST_THREADS} threads at most")
            for batch in asked.batches:
                feed = repeat_to_batch(engine.inputs, sample, batch)
                if feed is None:
                    raise BadInput("takes no batches", where=str(folder))
                compare_ways(engine, feed, batch)
    except EnginewrightError as error:
        print(f"staging: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def compare_ways(engine: TensorRtEngine, feed: Feed, batch: int) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    engine.infer(feed)  # the first of a shape is slower
    for _ in range(TURNS):
        for way, large in WAYS.items():
            pieces.LARGE_BYTES = large
            found[way].append(_measured(engine, feed, batch))
    for way, turns in found.items():
        alone, copied, busy = (median(column) for column in zip(*turns, strict=True))
        print(f"batch {batch}, {way}: {alone:.3f} ms alone, copy in {copied:.3f} ms, {busy:,.0f} samples/s")


def _measured(engine: TensorRtEngine, feed: Feed, batch: int) -> tuple[float, float, float]:
    times, train = list[float](), Train(engine, engine, BATCHES)
    for _ in range(RUNS):
        start = time.perf_counter()
        engine.infer(feed)
        times.append(time.perf_counter() - start)
    on_device = device_latency(engine, feed, RUNS)
    start = time.perf_counter()
    train.infer(feed)
    busy = BATCHES * batch / (time.perf_counter() - start)
    return 1e3 * median(times), on_device.copy_in_ms if on_device is not None else 0.0, busy


if __name__ == "__main__":
    raise SystemExit(main())
