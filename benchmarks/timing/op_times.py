"""Where an ONNX Runtime engine spends its time, by operator type, from the runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from engines.engine import Feed
from engines.onnxruntime.engine import tensor_specs
from engines.onnxruntime.run import run_session

_SUFFIX = "_kernel_time"
WARMUP_RUNS = 3
"""Profiled runs that are left out: the first ones allocate. Chosen."""


@dataclass(frozen=True)
class OpTime:
    """``milliseconds`` per inference over all kernels of one operator type; ``calls`` kernels per inference."""

    op_type: str
    milliseconds: float
    calls: int


@dataclass(frozen=True)
class KernelTime:
    """One kernel, under the name that ONNX Runtime gives it: ``milliseconds`` per inference."""

    name: str
    op_type: str
    milliseconds: float


def profile_kernels(model: Path, feed: Feed, *, runs: int = 20) -> list[KernelTime]:
    """Run ``model`` with ONNX Runtime's profiler on; kernels in the order they ran first. Warm-up runs are left out."""
    with tempfile.TemporaryDirectory(prefix="op-times-") as folder:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = tensor_specs(session.get_inputs(), str(model))
        outputs = tensor_specs(session.get_outputs(), str(model))
        for _ in range(min(WARMUP_RUNS, runs) + runs):
            run_session(session, feed, inputs, outputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    return _medians(events, runs)


def by_operator(kernels: Sequence[KernelTime]) -> list[OpTime]:
    """Kernels summed by operator type, by falling time."""
    totals: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for kernel in kernels:
        totals[kernel.op_type] += kernel.milliseconds
        calls[kernel.op_type] += 1
    return sorted((OpTime(op, total, calls[op]) for op, total in totals.items()), key=lambda op: -op.milliseconds)


def _medians(events: list[dict[str, Any]], runs: int) -> list[KernelTime]:
    """The median over the runs of every kernel, so that a stall of the machine counts for nothing.

    Kernels run in the same order each time; where a branch makes runs differ, kernels are matched by name.
    """
    kernels = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith(_SUFFIX)]
    micros: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in kernels:
        micros[event["args"]["op_name"], event["name"]].append(event["dur"])
    found = []
    for (op, name), durations in micros.items():
        kept = durations[-runs:]
        found.append(KernelTime(name.removesuffix(_SUFFIX), op, median(kept) * len(kept) / runs / 1e3))
    return found
