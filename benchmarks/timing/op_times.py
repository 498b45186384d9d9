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

_KERNEL = "_kernel_time"
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
    return _by_op(_events(model, feed, runs), runs)


def profile_kernels(model: Path, feed: Feed, *, runs: int = 20) -> dict[str, float]:
    """The same by the name that ONNX Runtime gives a kernel, a node's or its output's: milliseconds per inference."""
    micros, found = _by_kernel(_events(model, feed, runs)), dict[str, float]()
    for (_, name), durations in micros.items():
        found[name.removesuffix(_KERNEL)] = _usual(durations, runs) / 1e3
    return found


def _events(model: Path, feed: Feed, runs: int) -> list[dict[str, Any]]:
    """What the runtime's profiler wrote of ``runs`` inferences and of those to warm up."""
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
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text())
        return events


def _by_op(events: list[dict[str, Any]], runs: int) -> list[OpTime]:
    """The median over the runs of every kernel, so that a stall of the machine counts for nothing, summed by operator.

    Kernels run in the same order each time; where a branch makes runs differ, kernels are matched by name.
    """
    totals: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for (op, _), durations in _by_kernel(events).items():
        totals[op] += _usual(durations, runs)
        calls[op] += 1
    found = [OpTime(op, total / 1e3, calls[op]) for op, total in totals.items()]
    return sorted(found, key=lambda op: -op.milliseconds)


def _by_kernel(events: list[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """Microseconds of every run of a kernel, by its operator and name."""
    micros: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL):
            micros[event["args"]["op_name"], event["name"]].append(event["dur"])
    return micros


def _usual(durations: list[float], runs: int) -> float:
    kept = durations[-runs:]
    return median(kept) * len(kept) / runs
