"""Proving accuracy: every form of the model against the model as given, on held-back samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
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
    forms: Mapping[str, Form],
    held_back: SampleSource,
    evaluate: str | Callable[..., Any] | None,
    max_drop: float,
) -> dict[str, Proof]:
    """Compare each form with ``original`` and judge it by the budget."""
    with ExitStack() as stack:
        reference = stack.enter_context(OnnxRuntimeEngine(original))
        engines = {
            name: stack.enter_context(OnnxRuntimeEngine(form.path, fuse_qdq=not form.simulated))
            for name, form in forms.items()
        }
        feeds = batches(held_back.samples(), BATCH, joinable=batchable(held_back.specs))
        accuracy = compare(reference, engines, feeds)
        tasks = evaluate_task(evaluate, reference, engines) if evaluate else {}
    return {name: judge(accuracy[name], tasks.get(name), max_drop) for name in forms}


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
