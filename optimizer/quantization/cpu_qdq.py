"""Insert the Q/DQ pairs of an ONNX Runtime placement: uint8 activations, int8 weights per channel, int32 bias."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from graphs.constants import constant_tensor
from graphs.edits import GraphEdits, drop_if_unread, values_by_name
from optimizer.quantization.biases import keep_biases_apart
from optimizer.quantization.insertion_points import ActivationPoint, Form, Placement, rewire
from optimizer.quantization.integer_convolutions import write_integer_convolution
from optimizer.quantization.qdq import QuantizedWeight, insert_pair, insert_weight
from optimizer.quantization.weights import Floats, ScaleSearch, WeightScales, as_float32

_INT32_SAFE = 2.0**30
"""Largest code of a bias: half the range of int32, so that the sum of products has the other half."""
_WITH_BIAS = ("Conv", "Gemm")


def insert_for_cpu(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    *,
    weight_scales: ScaleSearch | None = None,
    settled: Mapping[str, QuantizedWeight] | None = None,
) -> None:
    """Put the Q/DQ of a ``Form.ONNXRUNTIME`` placement into ``model``, in place (arguments as in ``qdq.insert``)."""
    if placement.form is not Form.ONNXRUNTIME:
        raise ValueError(f"a {placement.form.value} placement has its own inserter")
    edits, search = GraphEdits(model.graph), weight_scales or WeightScales()
    nodes = {str(node.name): node for node in model.graph}
    values = values_by_name(model.graph)
    scales: dict[str, float] = {}
    for point in placement.activations:
        scales.update(_activation(edits, nodes, values[point.tensor], point, table))
    for weight in placement.weights:
        known = (settled or {}).get(weight.tensor)
        scale = insert_weight(edits, nodes, values[weight.tensor], weight, search, known, placement.code_max)
        for use in weight.uses:
            if use.node not in placement.float_results:
                _bias(edits, nodes[use.node], scales[use.node], scale)
    for name in sorted(placement.float_results):
        write_integer_convolution(edits, nodes[name])
    keep_biases_apart(model)


def uint8_parameters(found: TensorRange) -> tuple[float, int]:
    """(scale, zero point) of an activation, clipped to codes uint8 has."""
    scale, zero = found.uint8_scale()
    return scale, min(max(zero, 0), 255)


def _activation(
    edits: GraphEdits, nodes: Mapping[str, ir.Node], value: ir.Value, point: ActivationPoint, table: CalibrationTable
) -> dict[str, float]:
    """Insert one pair; returns the scale each weighted reader sees on its data input, by node name."""
    scale, zero = uint8_parameters(table.tensors[point.range_name])
    parameters = [
        edits.constant(f"{value.name}/scale", np.float32(scale)),
        edits.constant(f"{value.name}/zero", np.uint8(zero)),
    ]
    rewire(nodes, point.uses, insert_pair(edits, value, parameters, ir.DataType.UINT8))
    return {use.node: float(np.float32(scale)) for use in point.uses if use.index == 0}


def _bias(edits: GraphEdits, node: ir.Node, data_scale: float, weight_scale: Floats) -> None:
    """Replace a constant float bias by int32 codes at ``data_scale * weight_scale``, which the kernels add exactly.

    One that has no such codes stays float, and its op too: see ``biases``.
    """
    value = node.inputs[2] if node.op_type in _WITH_BIAS and len(node.inputs) > 2 else None
    tensor = constant_tensor(value)
    if value is None or tensor is None or not value.name:
        return
    bias = as_float32(tensor).astype(np.float64)
    scale = data_scale * weight_scale.astype(np.float64)
    if bias.shape != scale.shape or (np.abs(bias) > _INT32_SAFE * scale).any() or not _default_gemm(node):
        return
    codes = np.rint(bias / scale).astype(np.int32)
    name = f"{node.name}/bias"
    inputs = [
        edits.constant(f"{name}/int32", codes),
        edits.constant(f"{name}/scale", scale.astype(np.float32)),
        edits.constant(f"{name}/zero", np.zeros(len(codes), np.int32)),
    ]
    dequantize = edits.node(
        "DequantizeLinear",
        inputs,
        f"{name}/DQ",
        f"{name}/dequantized",
        ir.DataType.FLOAT,
        ir.Shape(bias.shape),
        {"axis": 0},
    )
    edits.graph.insert_before(node, dequantize)
    node.replace_input_with(2, dequantize.outputs[0])
    drop_if_unread(edits.graph, value)


def _default_gemm(node: ir.Node) -> bool:
    beta = node.attributes.get("beta")
    return beta is None or beta.as_float() == 1.0
