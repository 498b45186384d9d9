"""What a form costs to run: predicted for GPUs that are asked for, measured on the CPU at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.prediction import predict
from benchmarks.timing.latency import measure_latency
from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.targets.target import CPU, Target
from graphs.storage.model_files import external_files
from optimizer.attempt import attempt

SECONDS, RUNS = 0.4, 5
"""How long a form is timed, and how often at least; enough to draw it, not to choose what ships. Chosen."""


@dataclass(frozen=True)
class Trade:
    """What a form costs: milliseconds of one inference by target and bytes of its graph."""

    latency_ms: dict[str, float] = field(default_factory=dict)
    bytes: int = 0


def gpu_trade(path: Path, shapes: Mapping[str, Sequence[int]], targets: Sequence[Target]) -> Trade:
    """Predicted latency of one sample on every GPU whose peak rates are known, and the graph's bytes."""
    boards = {target.name: rates for target in targets if (rates := target.rates) is not None}

    def predicted() -> dict[str, float]:
        found = kernels(ir.load(path), shapes)
        return {name: predict(found, rates, 1).latency_ms for name, rates in boards.items()}

    latency, _ = attempt("prediction by the roofline model", predicted, dict[str, float]()) if boards else ({}, [])
    return Trade(latency, _bytes(path))


def cpu_trade(path: Path, feed: Feed) -> Trade:
    """Median latency of ``feed`` on this CPU, and the graph's bytes."""
    with OnnxRuntimeEngine(path) as engine:
        timed = measure_latency({CPU.name: engine}, feed, seconds=SECONDS, min_runs=RUNS, warmup_runs=1)
    return Trade({CPU.name: timed[CPU.name].p50}, _bytes(path))


def _bytes(path: Path) -> int:
    return sum((path.parent / name).stat().st_size for name in (path.name, *external_files(path)))
