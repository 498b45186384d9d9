"""How much of the output error each quantized op causes, measured: one op in int8, everything else in float.

All ops sit in one graph behind switches, so the graph is loaded once and each measurement is a plain run. Errors of
different ops are nearly independent, so their noise powers at the output add up; that is what makes a budgeted choice
(``best_relief``) a sum and not a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.collect import stored
from calibration.table import CalibrationTable
from engines.engine import Array, Feed
from engines.onnxruntime_engine import OnnxRuntimeEngine
from optimizer.quantization.graph_edits import constant, describe, values_by_name
from optimizer.quantization.points import Placement, Use, WeightPoint
from optimizer.quantization.qdq import QuantizedWeight, activation_scale
from optimizer.quantization.weights import (
    Floats,
    ScaleSearch,
    as_float32,
    mse_scales,
    per_channel,
    quantize,
)

SWITCHES = "enginewright/switches"
MEASURED_MACS = 1e11
"""Multiply-accumulates one sensitivity sweep may spend; decides how many samples each op is measured on."""
LEAST_PART = 0.01
SILENT = 1e-9
"""Channels with less than this part of the strongest one's power say nothing."""
Floats64 = NDArray[np.float64]
_STEPS = 1000


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
    return int(np.clip(MEASURED_MACS / max(ops * macs_per_sample, 1), 1, min(available, 4)))


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
    with stored(switched) as path, OnnxRuntimeEngine(path, fuse_qdq=False, lean=True) as engine:
        reference = [engine.infer({**feed, SWITCHES: off}) for feed in feeds]
        found = []
        for index, node in enumerate(nodes):
            only = off.copy()
            only[index] = True
            outputs = [engine.infer({**feed, SWITCHES: only}) for feed in feeds]
            found.append(Sensitivity(node, relative_noise(reference, outputs)))
    return found


def relative_noise(reference: Sequence[Mapping[str, Array]], outputs: Sequence[Mapping[str, Array]]) -> float:
    """Error power over signal power, averaged over the float outputs.

    An output may mix units along its last axis (boxes to 416 beside probabilities): the geometric mean of the ratio
    over all its values and of the mean ratio over its channels lets neither drown the other.
    """
    ratios = []
    for name, first in reference[0].items():
        if first.dtype.kind != "f" or not first.size:
            continue
        pairs = [(wanted[name], got[name]) for wanted, got in zip(reference, outputs, strict=True)]
        signal = np.sum([_by_channel(wanted) for wanted, _ in pairs], axis=0)
        error = np.sum([_by_channel(got.astype(np.float64) - wanted) for wanted, got in pairs], axis=0)
        whole = float(error.sum() / max(signal.sum(), 1e-30))
        live = signal > SILENT * signal.max()
        each = float(np.mean(error[live] / signal[live])) if live.any() else whole
        ratios.append(np.sqrt(whole * each))
    return float(np.mean(ratios)) if ratios else 0.0


def _by_channel(values: Array) -> Floats64:
    """Power along the last axis where that has one length in all samples; else one number."""
    squares = np.square(values, dtype=np.float64)
    return squares.reshape(-1, values.shape[-1]).sum(axis=0) if values.ndim > 1 else np.atleast_1d(squares.sum())


def best_relief(
    sensitivities: Sequence[Sensitivity], costs: Mapping[str, int], *, budget: float, least: float = LEAST_PART
) -> dict[str, float]:
    """The ops to leave in high precision that take most noise away for at most ``budget`` multiply-accumulates.

    A 0/1 knapsack over ops causing at least the part ``least`` of all noise (exact up to a thousandth of the budget).
    Ops without MACs (residual adds) are not candidates: leaving them out splits a fusion. Returns node -> its part.
    """
    total = sum(item.noise for item in sensitivities)
    items = [i for i in sensitivities if 0 < costs.get(i.node, 0) <= budget and i.noise >= least * total > 0]
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * (_STEPS + 1)
    for index, item in enumerate(items):
        weight = int(np.ceil(costs[item.node] / budget * _STEPS))
        for room in range(_STEPS, weight - 1, -1):
            value = best[room - weight][0] + item.noise
            if value > best[room][0]:
                best[room] = value, (*best[room - weight][1], index)
    return {items[index].node: items[index].noise / total for index in best[_STEPS][1]}


def _with_switches(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    settled: Mapping[str, QuantizedWeight] | None,
    weight_scales: ScaleSearch,
) -> tuple[ir.Model, list[str]]:
    """``model`` with every quantized node replaced by ``If(switch, quantized twin, node)``: only one of them runs."""
    work = model.clone()
    graph = work.graph
    values = values_by_name(graph)
    scales = {
        use: activation_scale(values[point.tensor], table.tensors[point.range_name])
        for point in placement.activations
        for use in point.uses
    }
    rounded = {
        use: _rounded(graph, weight, (settled or {}).get(weight.tensor), weight_scales)
        for weight in placement.weights
        for use in weight.uses
    }
    nodes = [node for node in graph if any(Use(str(node.name), slot) in scales for slot in (0, 1))]
    switches = ir.Value(name=SWITCHES, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([len(nodes)]))
    graph.inputs.append(switches)
    biases = {
        use.node: (settled or {})[w.tensor].bias
        for w in placement.weights
        if w.tensor in (settled or {})
        for use in w.uses
    }
    for index, node in enumerate(nodes):
        _switch(graph, node, index, switches, scales, rounded, biases.get(str(node.name)))
    return work, [str(node.name) for node in nodes]


def _rounded(graph: ir.Graph, point: WeightPoint, settled: QuantizedWeight | None, search: ScaleSearch) -> ir.Value:
    """The weight as int8 would have it, in float."""
    tensor = graph.initializers[point.tensor].const_value
    assert tensor is not None
    values = as_float32(tensor)
    scale = settled.scale if settled is not None else search(values, point.axis)
    codes = settled.codes if settled is not None else quantize(values, point.axis, scale)
    name = f"{point.tensor}/rounded{point.axis}"
    return constant(graph, name, codes * per_channel(values, point.axis, scale), tensor.dtype)


def _switch(
    graph: ir.Graph,
    node: ir.Node,
    index: int,
    switches: ir.Value,
    scales: Mapping[Use, Floats],
    rounded: Mapping[Use, ir.Value],
    bias: Floats | None,
) -> None:
    name = str(node.name)
    picked = ir.node("Gather", [switches, constant(graph, f"{name}/switch", np.int64(index))], name=f"{name}/pick")
    describe(picked.outputs[0], f"{name}/on", ir.DataType.BOOL, ir.Shape([]))
    zero = constant(graph, f"{name}/switch_zero", np.int8(0))
    inputs, body = list(node.inputs), []
    for slot in (0, 1):
        use, value = Use(name, slot), node.inputs[slot]
        if use in rounded:
            inputs[slot] = rounded[use]
        elif use in scales and value is not None:
            dtype = value.dtype or ir.DataType.FLOAT
            scale = constant(graph, f"{name}/switch_scale{slot}", scales[use], dtype)
            first = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}/switch_Q{slot}")
            describe(first.outputs[0], f"{name}/switch_int8_{slot}", ir.DataType.INT8, value.shape)
            second = ir.node("DequantizeLinear", [first.outputs[0], scale, zero], name=f"{name}/switch_DQ{slot}")
            describe(second.outputs[0], f"{name}/switch_dequantized_{slot}", dtype, value.shape)
            body += [first, second]
            inputs[slot] = second.outputs[0]
    quantized, plain = _twin(node, inputs, "quantized"), _twin(node, node.inputs, "plain")
    body.append(quantized)
    if bias is not None:
        channels_last = node.op_type in ("MatMul", "Gemm")
        rank = node.inputs[1].shape.rank() if node.inputs[1] is not None and node.inputs[1].shape is not None else 0
        shaped = bias if channels_last else bias.reshape(-1, *[1] * (rank - 2))
        offset = constant(graph, f"{name}/switch_bias", shaped, node.outputs[0].dtype or ir.DataType.FLOAT)
        corrected = ir.node("Add", [quantized.outputs[0], offset], name=f"{name}/corrected")
        describe(corrected.outputs[0], f"{name}/corrected_out", node.outputs[0].dtype or ir.DataType.FLOAT, None)
        body.append(corrected)
    branches = {
        "then_branch": ir.Graph([], body[-1].outputs, nodes=body, name=f"{name}/int8"),
        "else_branch": ir.Graph([], plain.outputs, nodes=[plain], name=f"{name}/float"),
    }
    choice = ir.Node(
        "",
        "If",
        [picked.outputs[0]],
        [ir.AttrGraph(key, branch) for key, branch in branches.items()],
        name=f"{name}/if",
    )
    output = node.outputs[0]
    describe(choice.outputs[0], f"{output.name}/switched", output.dtype or ir.DataType.FLOAT, output.shape)
    graph.insert_before(node, [picked, choice])
    output.replace_all_uses_with(choice.outputs[0], replace_graph_outputs=True)
    if choice.outputs[0].is_graph_output():
        choice.outputs[0].name, output.name = output.name, f"{output.name}/unswitched"
    graph.remove(node, safe=True)


def _twin(node: ir.Node, inputs: Sequence[ir.Value | None], kind: str) -> ir.Node:
    twin = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), name=f"{node.name}/{kind}")
    describe(twin.outputs[0], f"{node.outputs[0].name}/{kind}", node.outputs[0].dtype or ir.DataType.FLOAT, None)
    return twin
