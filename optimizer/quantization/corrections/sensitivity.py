"""How much of the output error each quantized op causes, measured: one op in int8, everything else in float.

All ops sit in one graph behind switches, so the graph is loaded once and each measurement is a plain run. Errors of
different ops are nearly independent, so their noise powers at the output add up; that is what makes a budgeted choice
(``cheapest_relief``) a sum and not a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibration.collect import stored
from calibration.table import CalibrationTable
from engines.engine import Array, Feed
from engines.onnxruntime_engine import OnnxRuntimeEngine
from optimizer.quantization.graph_edits import constant, describe, values_by_name
from optimizer.quantization.points import Placement
from optimizer.quantization.qdq import QuantizedWeight, insert
from optimizer.quantization.weights import ScaleSearch, mse_scales

SWITCHES = "enginewright/switches"
MEASURED_MACS = 1e11
"""Total multiply-accumulates spent on one sensitivity sweep; decides how many samples each op is measured on."""


@dataclass(frozen=True)
class Sensitivity:
    """Noise power at the outputs, relative to the signal's, with only this node quantized."""

    node: str
    noise: float

    @property
    def sqnr_db(self) -> float:
        return float(-10 * np.log10(max(self.noise, 1e-30)))


def sample_count(ops: int, macs_per_sample: int, available: int) -> int:
    """How many samples a sweep over ``ops`` can afford."""
    return int(np.clip(MEASURED_MACS / max(ops * macs_per_sample, 1), 1, min(available, 8)))


def measure(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    feeds: Sequence[Feed],
    *,
    settled: Mapping[str, QuantizedWeight] | None = None,
    weight_scales: ScaleSearch = mse_scales,
) -> list[Sensitivity]:
    """Sensitivity of every node that reads a quantized activation in ``placement`` (TensorRT form), in graph order."""
    switched, nodes = _with_switches(model, placement, table, settled, weight_scales)
    off = np.zeros(len(nodes), np.bool_)
    with stored(switched) as path, OnnxRuntimeEngine(path, fuse_qdq=False) as engine:
        reference = [engine.infer({**feed, SWITCHES: off}) for feed in feeds]
        found = []
        for index, node in enumerate(nodes):
            only = off.copy()
            only[index] = True
            outputs = [engine.infer({**feed, SWITCHES: only}) for feed in feeds]
            found.append(Sensitivity(node, relative_noise(reference, outputs)))
    return found


def relative_noise(reference: Sequence[Mapping[str, Array]], outputs: Sequence[Mapping[str, Array]]) -> float:
    """Error power over signal power, averaged over the float outputs."""
    ratios = []
    for name, first in reference[0].items():
        if first.dtype.kind != "f":
            continue
        signal = sum(float(np.square(wanted[name], dtype=np.float64).sum()) for wanted in reference)
        error = sum(
            float(np.square(got[name].astype(np.float64) - wanted[name]).sum())
            for wanted, got in zip(reference, outputs, strict=True)
        )
        ratios.append(error / max(signal, 1e-30))
    return float(np.mean(ratios)) if ratios else 0.0


def cheapest_relief(
    sensitivities: Sequence[Sensitivity], costs: Mapping[str, int], *, float_share: float, least: float = 0.01
) -> dict[str, float]:
    """Which ops to leave in high precision so that at most ``float_share`` of the MACs leave int8.

    Greedy by noise per MAC, a knapsack whose items are small; ops causing under ``least`` of the noise stay in int8.
    Returns node -> its part of the noise.
    """
    total_noise = sum(item.noise for item in sensitivities)
    budget = float_share * sum(costs.values())
    chosen: dict[str, float] = {}
    for item in sorted(sensitivities, key=lambda item: item.noise / max(costs.get(item.node, 0), 1), reverse=True):
        cost = costs.get(item.node, 0)
        if cost <= 0 or cost > budget or item.noise < least * total_noise:
            continue
        chosen[item.node] = item.noise / total_noise
        budget -= cost
    return chosen


def _with_switches(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    settled: Mapping[str, QuantizedWeight] | None,
    weight_scales: ScaleSearch,
) -> tuple[ir.Model, list[str]]:
    work = model.clone()
    graph = work.graph
    values = values_by_name(graph)
    uses = {(use.node, use.index): values[point.tensor] for point in placement.activations for use in point.uses}
    uses |= {(use.node, use.index): values[weight.tensor] for weight in placement.weights for use in weight.uses}
    insert(work, placement, table, weight_scales=weight_scales, settled=settled)
    for value in uses.values():
        if value.const_value is not None and value.name not in graph.initializers:
            graph.register_initializer(value)
    reading = {name for name, _ in uses}
    order = [str(node.name) for node in graph if node.name in reading]
    switches = ir.Value(name=SWITCHES, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([len(order)]))
    graph.inputs.append(switches)
    by_name = {str(node.name): node for node in graph}
    for index, name in enumerate(order):
        node = by_name[name]
        picked = ir.node("Gather", [switches, constant(graph, f"{name}/switch", np.int64(index))], name=f"{name}/pick")
        describe(picked.outputs[0], f"{name}/on", ir.DataType.BOOL, ir.Shape([]))
        graph.insert_before(node, picked)
        for slot in (0, 1):
            if (name, slot) in uses:
                _switch(graph, node, slot, picked.outputs[0], uses[name, slot])
    return work, order


def _switch(graph: ir.Graph, node: ir.Node, slot: int, on: ir.Value, plain: ir.Value) -> None:
    quantized = node.inputs[slot]
    where = ir.node("Where", [on, quantized, plain], name=f"{node.name}/switch{slot}")
    describe(where.outputs[0], f"{node.name}/switched{slot}", plain.dtype or ir.DataType.FLOAT, plain.shape)
    graph.insert_before(node, where)
    node.replace_input_with(slot, where.outputs[0])
