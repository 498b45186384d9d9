"""Proving accuracy: every form of the model against the model as given, on held-back samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.accuracy import Accuracy, compare
from benchmarks.task import TaskAccuracy, evaluate_task
from calibration.source import SampleSource, batchable, batches
from engines.onnxruntime_engine import OnnxRuntimeEngine

BATCH = 8


@dataclass(frozen=True)
class Form:
    """One ONNX form of the model; ``simulated`` runs its Q/DQ in float, as another runtime's stand-in."""

    path: Path
    simulated: bool


@dataclass(frozen=True)
class Proof:
    """What held-back samples and the user's metric say of one form."""

    accuracy: Accuracy
    task: TaskAccuracy | None = None
    drop: float = 0.0
    ok: bool = True
    reasons: list[str] = field(default_factory=list)


def prove(
    original: Path,
    form: Form,
    held_back: SampleSource,
    evaluate: str | Callable[..., Any] | None,
    max_drop: float,
) -> Proof:
    """Run the form and ``original`` side by side and judge the form by the budget."""
    with OnnxRuntimeEngine(original) as reference, OnnxRuntimeEngine(form.path, fuse_qdq=not form.simulated) as engine:
        feeds = batches(held_back.samples(), BATCH, joinable=batchable(held_back.specs))
        accuracy = compare(reference, {"form": engine}, feeds)["form"]
        task = evaluate_task(evaluate, reference, {"form": engine})["form"] if evaluate else None
    return judge(accuracy, task, max_drop)


def judge(accuracy: Accuracy, task: TaskAccuracy | None, max_drop: float) -> Proof:
    """Within budget when the task metric loses at most ``max_drop`` of its FP32 value, or, where there is no task
    metric, when no output's cosine similarity to FP32 falls below ``1 - max_drop``.
    """
    reasons = list(accuracy.failures)
    if task is not None:
        drop = task.drop / abs(task.fp32) if task.fp32 else task.drop
        if drop > max_drop:
            reasons.append(
                f"{task.metric} fell from {task.fp32:.4f} to {task.optimized:.4f}, {100 * drop:.2f} % where "
                f"{100 * max_drop:.2f} % are allowed"
            )
        return Proof(accuracy, task, drop, not reasons, reasons)
    worst = min(accuracy.outputs.items(), key=lambda item: item[1].cosine)
    drop = 1.0 - worst[1].cosine
    if drop > max_drop:
        reasons.append(
            f"output {worst[0]!r} has cosine similarity {worst[1].cosine:.4f} to FP32 where at least "
            f"{1 - max_drop:.4f} is asked (no --evaluate given)"
        )
    return Proof(accuracy, None, drop, not reasons, reasons)
