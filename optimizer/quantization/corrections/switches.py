"""A graph in which ops, and the rounding of values, are turned on and off by an input: loaded once for many runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.reading.number_types import Floats
from graphs.writing.edits import GraphEdits, dtype_of, values_by_name
from optimizer.quantization.codes.scheme import FP8, ActivationScheme, Parameters
from optimizer.quantization.codes.weights import QuantizedWeight, ScaleSearch, as_float32, quantize
from optimizer.quantization.insertion.block_weights import quantized_in_blocks, rounded_in_blocks, weight_values
from optimizer.quantization.insertion.qdq import quantizing_pair
from optimizer.quantization.placement.insertion_points import Placement, Use, WeightPoint

SWITCHES = "enginewright/switches"


def with_switches(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    settled: Mapping[str, QuantizedWeight],
    scales: ScaleSearch,
    among: Collection[str],
) -> tuple[ir.Model, str, list[str]]:
    """``model`` with each quantized node of ``among`` as ``If(switch, quantized twin, node)``: only one of them runs.

    Also the name of the input that holds a switch per node, and the nodes.
    """
    work = model.clone()
    graph = work.graph
    switching = _Switching(GraphEdits(graph), scales)
    values = values_by_name(graph)
    for point in (point for point in placement.activations if point.tensor in values):
        parameters = point.codes.parameters(values[point.tensor], table.tensors[point.range_name])
        switching.parameters.update(dict.fromkeys(point.uses, parameters))
        switching.codes.update(dict.fromkeys(point.uses, point.codes))
    for weight in placement.weights:
        uses = [use for use in weight.uses if use.node in among]
        known = settled.get(weight.tensor)
        if uses:
            rounded = switching.rounded(values[weight.tensor], weight, known)
            switching.weights.update(dict.fromkeys(uses, rounded))
        if known is not None and known.bias is not None:
            switching.biases.update(dict.fromkeys((use.node for use in uses), known.bias))
    quantized = switching.parameters.keys() | switching.weights.keys()
    nodes = [node for node in graph if node.name in among and any(use in quantized for use in _uses(node))]
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
    scale, zero = found
    kind = ir.DataType.from_numpy(zero.dtype)
    parameters = [edits.constant(f"{name}/switch_scale", scale, dtype_of(value))]
    if kind is not FP8.static.dtype:
        parameters.append(edits.constant(f"{name}/switch_zero", zero))
    return quantizing_pair(edits, value, parameters, kind, f"{name}/switch")


def _uses(node: ir.Node) -> list[Use]:
    return [Use(str(node.name), index) for index in range(len(node.inputs))]


@dataclass
class _Switching:
    """Puts switches into a graph; ``parameters`` (of activations), ``weights`` (rounded, in float) and ``biases`` are
    those of int8.
    """

    edits: GraphEdits
    scales: ScaleSearch
    parameters: dict[Use, Parameters] = field(default_factory=dict)
    codes: dict[Use, ActivationScheme] = field(default_factory=dict)
    weights: dict[Use, ir.Value] = field(default_factory=dict)
    biases: dict[str, Floats] = field(default_factory=dict)

    def rounded(self, value: ir.Value, point: WeightPoint, settled: QuantizedWeight | None) -> ir.Value:
        """The weight as int8 would have it, in float."""
        tensor = value.const_value
        assert tensor is not None
        if settled is None and point.codes.block:
            settled = rounded_in_blocks(tensor, point)
        elif settled is None:
            scale = self.scales(tensor, point.axis, point.codes.numbers)
            settled = QuantizedWeight(quantize(as_float32(tensor), point.axis, scale, point.codes.numbers), scale)
        return self.edits.constant(f"{point.tensor}/rounded", weight_values(settled, point), tensor.dtype)

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
                made = self._rounding(value, use, f"{node.name}/{index}")
                body += made
                inputs[index] = made[-1].outputs[0]
        twin = self._twin(node, inputs, "quantized")
        return [*body, twin, *self._corrected(node, twin.outputs[0])]

    def _rounding(self, value: ir.Value, use: Use, name: str) -> list[ir.Node]:
        """What rounds ``value`` as ``use`` reads it: Q and DQ, or quantizers in blocks."""
        codes, parameters = self.codes[use], self.parameters[use]
        if codes.block:
            return quantized_in_blocks(self.edits, value, codes, parameters[0])
        return rounding_pair(self.edits, value, parameters, name)

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
