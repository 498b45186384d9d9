"""Where an ONNX Runtime engine spends its time, by operator type, from the runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime as ort

from engines.engine import Feed
from engines.onnxruntime.engine import tensor_specs
from engines.onnxruntime.run import run_session

WARMUP_RUNS = 3
"""Profiled runs that are left out: the first ones allocate."""


@dataclass(frozen=True)
class OpTime:
    """``milliseconds`` per inference over all kernels of one operator type; ``calls`` kernels per inference."""

    op_type: str
    milliseconds: float
    calls: int


def profile_ops(model: Path, feed: Feed, *, runs: int = 20) -> list[OpTime]:
    """Run ``model`` with ONNX Runtime's profiler on; operator types by falling time. Warm-up runs are left out."""
    with tempfile.TemporaryDirectory(prefix="op-times-") as folder:
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
    return _by_op(events, runs)


def _by_op(events: list[dict[str, Any]], runs: int) -> list[OpTime]:
    """The median over the runs of every kernel, so that a stall of the machine counts for nothing, summed by operator.

    Kernels run in the same order each time; where a branch makes runs differ, kernels are matched by name.
    """
    kernels = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith("_kernel_time")]
    micros: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in kernels:
        micros[event["args"]["op_name"], event["name"]].append(event["dur"])
    totals: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for (op, _), durations in micros.items():
        kept = durations[-runs:]
        totals[op] += median(kept) * len(kept) / runs
        calls[op] += 1
    found = [OpTime(op, total / 1e3, calls[op]) for op, total in totals.items()]
    return sorted(found, key=lambda op: -op.milliseconds)
