"""More precise siblings of a typed graph: what an INT8 engine is measured beside on the GPU that is here.

They are made from the same float graph by the same rules, without a budget: their accuracy is measured on their
engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from graphs.reading.macs import int8_share
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.precision import PrecisionPlan
from optimizer.settings.options import Precision
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import siblings_key
from optimizer.stages.runner import Stage, StageRunner
from optimizer.typed.graph import GraphTyper
from optimizer.typed.high_precision import Observed
from optimizer.typed.labels import with_given_int8

MORE_PRECISE = {
    Precision.INT8.value: (Precision.FP32, Precision.FP16),
    **dict.fromkeys(("fp8", "int8wo", "int4", "nvfp4", "mxfp8"), (Precision.FP32, Precision.FP16)),
    Precision.FP16.value: (Precision.FP32,),
    Precision.BF16.value: (Precision.FP32,),
}
"""What a graph computes in -> the siblings it is compared with, the most precise first."""


@dataclass(frozen=True)
class SiblingGraph:
    """A typed graph at ``path`` that was not judged yet."""

    path: Path
    plan: PrecisionPlan
    int8_mac_share: float


def sibling_graphs(
    job: Job,
    cleaned: Cleaned,
    graph: FloatGraph,
    computes_in: str,
    observed: Callable[[], Observed | None],
    runner: StageRunner,
) -> dict[str, SiblingGraph]:
    """By precision, the most precise first; none for a graph that computes in FP32. ``observed`` gives the ranges of
    all activations where half precision is among them.
    """
    wanted = MORE_PRECISE.get(computes_in, ())
    if not wanted:
        return {}
    key = siblings_key(job, cleaned, [precision.value for precision in wanted])
    stage = Stage("siblings-graphs", "type the graphs to compare with", dict[str, SiblingGraph], key, shared=True)

    def work(folder: Path) -> dict[str, SiblingGraph]:
        made: dict[str, SiblingGraph] = {}
        for precision in wanted:
            ranges = observed() if precision is Precision.FP16 else None
            found = _typed(graph, precision, ranges, folder / precision.value / MODEL)
            if found.plan.computes_in == precision.value:  # a model given in int8 has no sibling in half precision
                made[precision.value] = found
        return made

    return runner.run(stage, work)


def _typed(graph: FloatGraph, precision: Precision, observed: Observed | None, path: Path) -> SiblingGraph:
    typed = GraphTyper(graph.model, precision, graph.joined, graph.costs, observed).typed(None)
    path.parent.mkdir(parents=True)
    save_model(typed.model, path)
    written = ir.load(path)
    plan = with_given_int8(typed.plan, written)
    notes = list(dict.fromkeys([*graph.notes, *plan.notes]))
    return SiblingGraph(path, PrecisionPlan(plan.nodes, notes), int8_share(written, graph.costs))
