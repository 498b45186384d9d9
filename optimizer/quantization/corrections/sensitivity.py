"""How much of the output error each quantized op causes, measured: one op in int8, everything else in float.

All ops sit in one graph behind switches, so the graph is loaded once and each measurement is a plain run. Errors of
different ops are nearly independent, so their noise powers at the output add up; that is what makes a budgeted choice
(``fallback``) a sum and not a search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import CalibrationTable
from engines.engine import Array, Feed
from engines.onnxruntime.graph import running_many
from graphs.edits import GraphEdits, dtype_of, values_by_name
from optimizer.quantization.insertion_points import Placement, Use, WeightPoint
from optimizer.quantization.qdq import QuantizedWeight
from optimizer.quantization.scheme import Parameters
from optimizer.quantization.weights import (
    Floats,
    ScaleSearch,
    WeightScales,
    as_float32,
    per_channel,
    quantize,
)

SWITCHES = "enginewright/switches"
MEASURED_MACS = 1e11
"""Multiply-accumulates one sensitivity sweep may spend; decides how many samples each op is measured on."""
SILENT = 1e-9
"""Channels with less than this part of the strongest one's power say nothing."""
_NOTHING = 1e-30
_USELESS = 1e6
"""Noise over signal of an output that is not finite, or as good as: 60 dB below its own noise."""
Floats64 = NDArray[np.float64]


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
    scales: ScaleSearch | None = None,
    among: Collection[str] | None = None,
) -> list[Sensitivity]:
    """Sensitivity of every node that reads a quantized activation in ``placement``, in graph order; with ``among`` of
    those named there alone.
    """
    switched, switches, nodes = _with_switches(model, placement, table, settled or {}, scales or WeightScales(), among)
    return sweep(switched, switches, nodes, feeds)


def sweep(model: ir.Model, switches: str, nodes: Sequence[str], feeds: Sequence[Feed]) -> list[Sensitivity]:
    """What turning on each switch alone does to the outputs; ``switches`` is the input that holds one per node."""
    off = np.zeros(len(nodes), np.bool_)

    def turned_on(only: int | None) -> Iterator[Feed]:
        on = off.copy()
        if only is not None:
            on[only] = True
        yield from ({**feed, switches: on} for feed in feeds)

    with running_many(model, len(feeds) * len(nodes)) as run:
        outputs = run(chain(turned_on(None), *(turned_on(index) for index in range(len(nodes)))))
        reference = list(islice(outputs, len(feeds)))
        return [Sensitivity(node, relative_noise(reference, list(islice(outputs, len(feeds))))) for node in nodes]


def relative_noise(reference: Sequence[Mapping[str, Array]], outputs: Sequence[Mapping[str, Array]]) -> float:
    """Error power over signal power, averaged over the float outputs.

    An output may mix units along its last axis (boxes to 416 beside probabilities): the geometric mean of the ratio
    over all its values and of the mean ratio over its channels lets neither drown the other. Channels are looked at
    where the last axis has one length in all samples.

    Where shapes depend on values (how many boxes pass a threshold) a sample whose shape changed counts as wholly wrong:
    as much error as signal. Values that are not finite in the reference say nothing and are left out.
    """
    ratios = []
    for name, first in reference[0].items():
        if first.dtype.kind != "f":
            continue
        pairs = [(wanted[name], got[name]) for wanted, got in zip(reference, outputs, strict=True)]
        powers = [_powers(wanted, got) for wanted, got in pairs if wanted.size]
        if powers:
            ratios.append(_ratio([signal for signal, _ in powers], [error for _, error in powers]))
    return float(np.mean(ratios)) if ratios else 0.0


def _powers(wanted: Array, got: Array) -> tuple[Floats64, Floats64]:
    """Power of the signal and of the error along the last axis (one number for a scalar)."""
    signal = np.where(np.isfinite(wanted), wanted, 0).astype(np.float64)
    if wanted.shape != got.shape:
        return _by_channel(signal), _by_channel(signal)
    error = np.where(np.isfinite(wanted), got.astype(np.float64) - signal, 0)
    return _by_channel(signal), _by_channel(np.nan_to_num(error, nan=np.inf, posinf=np.inf, neginf=np.inf))


def _ratio(signals: Sequence[Floats64], errors: Sequence[Floats64]) -> float:
    whole = float(sum(part.sum() for part in errors) / max(sum(part.sum() for part in signals), _NOTHING))
    if len({len(part) for part in signals}) > 1 or whole > _USELESS:
        return min(whole, _USELESS)
    signal, error = np.sum(signals, axis=0), np.sum(errors, axis=0)
    live = signal > SILENT * signal.max()
    each = float(np.mean(error[live] / signal[live])) if live.any() else whole
    return min(float(np.sqrt(whole * each)), _USELESS)


def _by_channel(values: Floats64) -> Floats64:
    squares = np.square(values)
    return squares.reshape(-1, values.shape[-1]).sum(axis=0) if values.ndim > 1 else np.atleast_1d(squares.sum())


def _with_switches(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    settled: Mapping[str, QuantizedWeight],
    scales: ScaleSearch,
    among: Collection[str] | None,
) -> tuple[ir.Model, str, list[str]]:
    """``model`` with every quantized node replaced by ``If(switch, quantized twin, node)``: only one of them runs.

    Also the name of the input that holds a switch per node, and the nodes.
    """
    work = model.clone()
    graph = work.graph
    switching = _Switching(GraphEdits(graph), placement.scheme.weights.highest, scales)
    values = values_by_name(graph)
    for point in placement.activations:
        parameters = placement.scheme.activations.parameters(values[point.tensor], table.tensors[point.range_name])
        switching.parameters.update(dict.fromkeys(point.uses, parameters))
    for weight in placement.weights:
        uses = [use for use in weight.uses if among is None or use.node in among]
        known = settled.get(weight.tensor)
        if uses:
            rounded = switching.rounded(values[weight.tensor], weight, known)
            switching.weights.update(dict.fromkeys(uses, rounded))
        if known is not None and known.bias is not None:
            switching.biases.update(dict.fromkeys((use.node for use in uses), known.bias))
    nodes = [
        node
        for node in graph
        if any(use in switching.parameters for use in _uses(node)) and (among is None or node.name in among)
    ]
    switches = add_switches(switching.edits, len(nodes))
    for index, node in enumerate(nodes):
        switching.switch(node, index, switches)
    return work, str(switches.name), [str(node.name) for node in nodes]


def add_switches(edits: GraphEdits, count: int) -> ir.Value:
    """A graph input of ``count`` switches."""
    switches = ir.Value(name=edits.names.value(SWITCHES), type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([count]))
    edits.graph.inputs.append(switches)
    return switches


def choice(
    edits: GraphEdits, name: str, switch: tuple[ir.Value, int], output: ir.Value, on: list[ir.Node], off: list[ir.Node]
) -> list[ir.Node]:
    """Nodes, not yet in the graph, that yield what ``on`` ends in while the switch is on, else what ``off`` ends in: a
    value like ``output``.
    """
    switches, index = switch
    number = edits.constant(f"{name}/switch", np.int64(index))
    picked = edits.node("Gather", [switches, number], f"{name}/pick", f"{name}/on", ir.DataType.BOOL, ir.Shape([]))
    branches = {"then_branch": (on, "int8"), "else_branch": (off, "float")}
    bodies = [
        ir.AttrGraph(key, ir.Graph([], nodes[-1].outputs, nodes=nodes, name=f"{name}/{kind}"))
        for key, (nodes, kind) in branches.items()
    ]
    chosen = ir.Node("", "If", [picked.outputs[0]], bodies, name=edits.names.node(f"{name}/if"))
    edits.describe(chosen.outputs[0], f"{output.name}/switched", dtype_of(output), output.shape)
    return [picked, chosen]


def rounding_pair(edits: GraphEdits, value: ir.Value, found: Parameters, name: str) -> list[ir.Node]:
    """Q and DQ of ``value``, not yet in the graph."""
    dtype = dtype_of(value)
    scale, zero = found
    parameters = [
        edits.constant(f"{name}/switch_scale", scale, dtype),
        edits.constant(f"{name}/switch_zero", zero),
    ]
    codes = ir.DataType.UINT8 if zero.dtype == np.uint8 else ir.DataType.INT8
    first = edits.node(
        "QuantizeLinear", [value, *parameters], f"{name}/switch_Q", f"{name}/switch_int8", codes, value.shape
    )
    second = edits.node(
        "DequantizeLinear",
        [first.outputs[0], *parameters],
        f"{name}/switch_DQ",
        f"{name}/switch_dequantized",
        dtype,
        value.shape,
    )
    return [first, second]


def _uses(node: ir.Node) -> list[Use]:
    return [Use(str(node.name), index) for index in range(len(node.inputs))]


@dataclass
class _Switching:
    """Puts switches into a graph; ``parameters`` (of activations), ``weights`` (rounded, in float) and ``biases`` are
    those of int8.
    """

    edits: GraphEdits
    highest: int
    scales: ScaleSearch
    parameters: dict[Use, Parameters] = field(default_factory=dict)
    weights: dict[Use, ir.Value] = field(default_factory=dict)
    biases: dict[str, Floats] = field(default_factory=dict)

    def rounded(self, value: ir.Value, point: WeightPoint, settled: QuantizedWeight | None) -> ir.Value:
        """The weight as int8 would have it, in float."""
        tensor = value.const_value
        assert tensor is not None
        values = as_float32(tensor)
        top = self.highest
        scale = settled.scale if settled is not None else self.scales(tensor, point.axis, top)
        codes = settled.codes if settled is not None else quantize(values, point.axis, scale, top)
        return self.edits.constant(
            f"{point.tensor}/rounded", codes * per_channel(values, point.axis, scale), tensor.dtype
        )

    def switch(self, node: ir.Node, index: int, switches: ir.Value) -> None:
        edits, output = self.edits, node.outputs[0]
        plain = [self._twin(node, node.inputs, "plain")]
        made = choice(edits, str(node.name), (switches, index), output, self._quantized(node), plain)
        chosen = made[-1].outputs[0]
        edits.graph.insert_before(node, made)
        output.replace_all_uses_with(chosen, replace_graph_outputs=True)
        if chosen.is_graph_output():
            kept, output.name = output.name, edits.names.value(f"{output.name}/unswitched")
            chosen.name = kept
        edits.graph.remove(node, safe=True)

    def _quantized(self, node: ir.Node) -> list[ir.Node]:
        """The int8 twin: its activations through Q and DQ, its weight rounded, its bias corrected."""
        inputs, body = list(node.inputs), []
        for index, use in enumerate(_uses(node)):
            value = node.inputs[index]
            if use in self.weights:
                inputs[index] = self.weights[use]
            elif use in self.parameters and value is not None:
                pair = rounding_pair(self.edits, value, self.parameters[use], f"{node.name}/{index}")
                body += pair
                inputs[index] = pair[-1].outputs[0]
        twin = self._twin(node, inputs, "quantized")
        return [*body, twin, *self._corrected(node, twin.outputs[0])]

    def _corrected(self, node: ir.Node, output: ir.Value) -> list[ir.Node]:
        """An Add of the bias correction, where there is one."""
        bias, name = self.biases.get(str(node.name)), str(node.name)
        if bias is None:
            return []
        weight = node.inputs[1]
        rank = weight.shape.rank() if weight is not None and weight.shape is not None else 0
        shaped = bias if node.op_type in ("MatMul", "Gemm") else bias.reshape(-1, *[1] * (rank - 2))
        dtype = dtype_of(node.outputs[0])
        offset = self.edits.constant(f"{name}/switch_bias", shaped, dtype)
        return [self.edits.node("Add", [output, offset], f"{name}/corrected", f"{name}/corrected_out", dtype, None)]

    def _twin(self, node: ir.Node, inputs: Sequence[ir.Value | None], kind: str) -> ir.Node:
        edits, output = self.edits, node.outputs[0]
        twin = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            node.attributes.values(),
            name=edits.names.node(f"{node.name}/{kind}"),
        )
        edits.describe(twin.outputs[0], f"{output.name}/{kind}", dtype_of(output), None)
        return twin
