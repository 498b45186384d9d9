"""What each node costs, for the report's picture: measured where the graph ran on the CPU, else predicted for a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx_ir as ir

from benchmarks.roofline.nodes import predicted_times
from engines.profile import Shape
from engines.targets.boards import GpuRates
from engines.targets.target import Target
from optimizer.attempt import attempt
from optimizer.stages.forms.typed_forms import TypedForm


@dataclass(frozen=True)
class NodeCosts:
    """Milliseconds by node, and in words what they are; both empty where there are none."""

    milliseconds: Mapping[str, float] = field(default_factory=dict)
    what: str = ""


def node_costs(form: TypedForm, shapes: Mapping[str, Shape], targets: Sequence[Target]) -> NodeCosts:
    """Of ``form``, whose file is still there; predictions are for the first of ``targets`` whose peak rates are known,
    at batch 1. A graph that the roofline cannot read has none.
    """
    measured = {name: node.milliseconds for name, node in form.plan.nodes.items() if node.milliseconds is not None}
    if measured:
        return NodeCosts(measured, "time, measured on the CPU's engine")
    gpus = ((target, rates) for target in targets if (rates := target.rates) is not None)
    target, rates = next(gpus, (None, None))
    if target is None or rates is None:
        return NodeCosts()
    none: dict[str, float] = {}
    found, _ = attempt("predicted time per node", partial(_predicted, form.path, shapes, rates), none)
    return NodeCosts(found, f"time, predicted for {target.name}") if found else NodeCosts()


def _predicted(graph: Path, shapes: Mapping[str, Shape], rates: GpuRates) -> dict[str, float]:
    return predicted_times(ir.load(graph), shapes, rates)
