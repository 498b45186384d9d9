"""The stages that prune: a 2:4 graph for any budget, and as much of it as the accuracy budget leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from graphs.reading.macs import count_macs, total_macs
from graphs.storage.model_files import model_digest
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.corrections import Correction
from optimizer.events import Detail, Events, Progress
from optimizer.quantization.judging.judge import Judge
from optimizer.quantization.observing.sampling import spread
from optimizer.sparsity.record import DENSE, NodeSparsity
from optimizer.sparsity.restore import restored
from optimizer.sparsity.sparsify import How, sparsify
from optimizer.sparsity.stored import SolvedWeights
from optimizer.stages.forms.accuracy_check import AccuracyChecker
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import sparse_budget_key, sparsity_key
from optimizer.stages.runner import Stage, StageRunner

SHARE = 0.5
"""Part of the accuracy budget that pruning may take: INT8 needs the rest. Chosen, not measured."""
MEASURED_FEEDS = 8
"""Samples on which the error of each layer alone is measured."""
_STAGE = "sparsify"


@dataclass(frozen=True)
class SparseGraph:
    """The pruned graph at ``path``, what it was before pruning at ``dense`` (None: the cleaned graph), and ``nodes``:
    what became of every node that TensorRT has sparse tactics for.
    """

    path: Path
    dense: Path | None
    digest: str
    nodes: dict[str, NodeSparsity]
    notes: list[str]


@dataclass(frozen=True)
class Afforded:
    """What the accuracy budget leaves of a pruned graph; None where that is all of it."""

    graph: SparseGraph | None = None


def sparse_graph(job: Job, cleaned: Cleaned, runner: StageRunner, events: Events) -> SparseGraph:
    """Prune the cleaned graph, or read back what an earlier run or another job made of it."""
    stage = Stage(
        _STAGE, "prune weights to 2:4 and make up for it", SparseGraph, sparsity_key(job, cleaned), shared=True
    )
    return runner.run(stage, partial(_pruned, job, cleaned, events))


def _pruned(job: Job, cleaned: Cleaned, events: Events, folder: Path) -> SparseGraph:
    model = ir.load(cleaned.path)
    left_out = {Correction(name) for name in job.settings.without}
    scratch = SolvedWeights(model, folder / "solved")
    how = How(
        macs=total_macs(count_macs(model, cleaned.sample_shapes)),
        permute=Correction.PERMUTATION not in left_out,
        solve=job.inputs.calibrated and Correction.RECONSTRUCTION not in left_out,
        seed=job.settings.seed,
        store=scratch.keep,
        on_step=lambda text: events.emit(Detail(_STAGE, text)),
        on_layer=lambda done, total: events.emit(Progress(_STAGE, done, total, "weights")),
    )
    made = sparsify(model, job.inputs.calibration.samples(), how)
    notes = list(made.notes)
    if not job.inputs.calibrated:
        notes.append("pruned by magnitude alone: there is no calibration data to solve layers from")
    path, dense = folder / MODEL, None
    save_model(made.model, path)
    if made.dense is not model:
        dense = folder / "dense" / MODEL
        dense.parent.mkdir()
        save_model(made.dense, dense)
    scratch.clear()
    return SparseGraph(path, dense, model_digest(path), made.nodes, notes)


def within_budget(
    job: Job,
    cleaned: Cleaned,
    graph: SparseGraph,
    checker: Callable[[], AccuracyChecker],
    runner: StageRunner,
    events: Events,
) -> SparseGraph:
    """``graph`` with as few layers dense again as bring its loss within ``SHARE`` of the accuracy budget: first those
    that cost most, measured, for what sparse tensor cores could gain.
    """
    if not any(node.sparse for node in graph.nodes.values()):
        return graph
    stage = Stage(
        "sparse-budget",
        "check what pruning costs",
        Afforded,
        sparse_budget_key(job, cleaned, graph.digest),
        shared=job.settings.evaluate is None,
    )
    found = runner.run(stage, partial(_afforded, job, cleaned, graph, checker, events))
    return found.graph or graph


def _afforded(
    job: Job, cleaned: Cleaned, graph: SparseGraph, checker: Callable[[], AccuracyChecker], events: Events, folder: Path
) -> Afforded:
    allowed, path = SHARE * job.settings.allowed_drop, folder / MODEL
    lost = checker().check_float(graph.path, with_task=True).drop
    if lost <= allowed:
        return Afforded()
    pruned, dense = ir.load(graph.path), ir.load(graph.dense or cleaned.path)
    order = _by_cost(job, cleaned, graph, pruned, dense, events)
    low, high = 0, len(order)  # with ``high`` of them dense it is within the budget
    while high - low > 1:
        middle = (low + high) // 2
        save_model(restored(pruned, dense, order[:middle]), path)
        found = checker().check_float(path, with_task=True).drop
        events.note("sparse-budget", f"with {middle} of {len(order)} pruned layers dense again: drop {found:.2%}")
        low, high = (low, middle) if found <= allowed else (middle, high)
    save_model(restored(pruned, dense, order[:high]), path)
    reason = f"left dense for the accuracy budget: pruning all costs {lost:.2%}, {allowed:.2%} is its part"
    nodes = {
        name: replace(node, pattern=DENSE, reason=reason) if name in order[:high] else node
        for name, node in graph.nodes.items()
    }
    notes = [*graph.notes, f"2:4: {high} of {len(order)} layers {reason}"]
    return Afforded(SparseGraph(path, None, model_digest(path), nodes, notes))


def _by_cost(
    job: Job, cleaned: Cleaned, graph: SparseGraph, pruned: ir.Model, dense: ir.Model, events: Events
) -> list[str]:
    """The pruned nodes, those first that cause most error at the outputs, alone, for each multiply-accumulate that
    sparse tensor cores would skip; those too small to gain before all others.
    """
    events.emit(Detail("sparse-budget", "measuring what each pruned layer costs"))
    feeds = spread(list(job.inputs.calibration.samples()), MEASURED_FEEDS)
    macs = {name: cost.macs for name, cost in count_macs(dense, cleaned.sample_shapes).items()}
    judge, costs = Judge(dense), dict[str, float]()
    names = [name for name, node in graph.nodes.items() if node.sparse]
    for done, name in enumerate(names):
        noise, _ = judge.noise_of(restored(dense, pruned, [name], biases=False), feeds)
        costs[name] = (noise if noise is not None else np.inf) / max(macs.get(name, 0), 1)
        events.emit(Progress("sparse-budget", done + 1, len(names), "layers"))
    return sorted(names, key=lambda name: (graph.nodes[name].likely_to_gain, -costs[name]))
