"""Insert the Q/DQ pairs of a placement into the graph, as its scheme has them.

One pair per activation tensor and form of codes, weights stored as codes behind a DequantizeLinear, biases float or
int32 codes (rules 1 to 5). Scales take the dtype of the tensor they scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import CalibrationTable
from graphs.errors import BadInput
from graphs.reading.constants import constant_tensor
from graphs.reading.number_types import INT8, Floats, NumberType
from graphs.writing.edits import GraphEdits, after, drop_if_unread, dtype_of, values_by_name
from optimizer.quantization.channels import bias_add
from optimizer.quantization.codes.scheme import Parameters
from optimizer.quantization.codes.weights import (
    QuantizedWeight,
    ScaleSearch,
    WeightScales,
    as_float32,
    lazy_codes,
    quantize,
)
from optimizer.quantization.insertion.biases import keep_biases_apart, least_weight_scales, quantize_bias
from optimizer.quantization.insertion.block_weights import insert_block_weight, quantized_in_blocks
from optimizer.quantization.insertion.integer_convolutions import write_integer_convolution
from optimizer.quantization.placement.insertion_points import ActivationPoint, Placement, WeightPoint, rewire

MIN_OPSET = 19
"""First opset whose QuantizeLinear takes FP16 (needed once the graph is typed FP16)."""


def insert(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    *,
    weight_scales: ScaleSearch | None = None,
    settled: Mapping[str, QuantizedWeight] | None = None,
) -> None:
    """Put the Q/DQ of ``placement`` into ``model``, in place.

    ``settled`` holds weights already rounded by a correction, by tensor name. Weight codes are computed lazily: each is
    materialized when the model is serialized. Raises ``BadInput`` when the opset is below 19.
    """
    _check_opset(model)
    edits, search = GraphEdits(model.graph), weight_scales or WeightScales()
    nodes = {str(node.name): node for node in model.graph}
    values = values_by_name(model.graph)
    scheme, data_scales = placement.scheme, dict[str, float]()
    for point in placement.activations:
        parameters = point.codes.parameters(values[point.tensor], table.tensors[point.range_name])
        if point.codes.block:
            made = quantized_in_blocks(edits, values[point.tensor], point.codes, parameters[0])
            after(edits.graph, values[point.tensor], made)
            rewire(nodes, point.uses, made[-1].outputs[0])
            continue
        _activation(edits, nodes, values[point.tensor], point, parameters)
        data_scales |= {use.node: float(parameters[0]) for use in point.uses if use.index == 0}
    for weight in placement.weights:
        known = (settled or {}).get(weight.tensor)
        if weight.codes.block:
            insert_block_weight(edits, nodes, values[weight.tensor], weight, known)
            continue
        readers = [use.node for use in weight.uses if use.node not in placement.float_results]
        if scheme.integer_biases and len(readers) == 1:
            least = least_weight_scales(nodes[readers[0]], data_scales[readers[0]])
            known = _raised(values[weight.tensor], weight, search, known, weight.codes.numbers, least)
        scale = insert_weight(edits, nodes, values[weight.tensor], weight, search, known, weight.codes.numbers)
        for node in (nodes[use.node] for use in weight.uses):
            if not scheme.integer_biases:
                _bias_as_row(edits, node, len(scale))
            elif node.name not in placement.float_results:
                quantize_bias(edits, node, data_scales[str(node.name)] * scale.astype(np.float64))
    for name in sorted(placement.float_results):
        write_integer_convolution(edits, nodes[name])
    if scheme.integer_biases:
        keep_biases_apart(model)


def _raised(
    value: ir.Value,
    point: WeightPoint,
    search: ScaleSearch,
    known: QuantizedWeight | None,
    numbers: NumberType,
    least: NDArray[np.float64],
) -> QuantizedWeight | None:
    """``known``, or plain rounding where that is None, with scales of at least ``least`` and the codes for these.

    A channel whose bias is 2^30 steps large has a product of which no digit is left in a float32 sum anyway: dead ones,
    and what equalization scaled down. Left as they were, the bias and with it the whole op would stay float.
    """
    tensor = constant_tensor(value)
    assert tensor is not None
    scale = known.scale if known is not None else search(tensor, point.axis, numbers)
    if least.shape != scale.shape or not (low := scale < least).any():
        return known
    higher = np.where(low, np.nextafter(least.astype(np.float32), np.float32(np.inf)), scale)
    codes = quantize(as_float32(tensor), point.axis, higher, numbers)
    if known is not None:
        kept = np.moveaxis(codes, point.axis, 0)  # a view
        kept[~low] = np.moveaxis(known.codes, point.axis, 0)[~low]
    return QuantizedWeight(codes, higher, known.bias if known is not None else None)


def _check_opset(model: ir.Model) -> None:
    version = model.graph.opset_imports.get("", 0)
    if version < MIN_OPSET:
        raise BadInput(
            f"the model is at opset {version}", expected=f"opset {MIN_OPSET} or later", fix="convert on import"
        )


def _activation(
    edits: GraphEdits,
    nodes: Mapping[str, ir.Node],
    value: ir.Value,
    point: ActivationPoint,
    parameters: Parameters,
) -> None:
    scale, zero = parameters
    inputs = [edits.constant(f"{value.name}/scale", scale, dtype_of(value))]
    if point.codes.numbers.whole:
        inputs.append(edits.constant(f"{value.name}/zero", zero))
    rewire(nodes, point.uses, insert_pair(edits, value, inputs, point.codes.dtype))


def _bias_as_row(edits: GraphEdits, node: ir.Node, channels: int) -> None:
    """Write the constant that is added to a MatMul's result as [1, channels] instead of [channels].

    The same numbers; but ONNX Runtime (1.31, opset 21) turns a product of int8 data of rank three and more and a vector
    added behind it into a Gemm, and then refuses the graph for the types of a Q it has put there itself.
    """
    found = bias_add(node.outputs[0], channels) if node.op_type == "MatMul" else None
    if found is None:
        return
    add, index, tensor = found
    old = add.inputs[index]
    add.replace_input_with(index, edits.constant(f"{add.name}/row", tensor.numpy().reshape(1, -1), tensor.dtype))
    if old is not None:
        drop_if_unread(edits.graph, old)


def insert_pair(edits: GraphEdits, value: ir.Value, parameters: Sequence[ir.Value], codes: ir.DataType) -> ir.Value:
    """Q and DQ right behind ``value``, with scale and zero point ``parameters``; returns what comes out of them."""
    pair = quantizing_pair(edits, value, parameters, codes, str(value.name))
    after(edits.graph, value, pair)
    return pair[-1].outputs[0]


def quantizing_pair(
    edits: GraphEdits, value: ir.Value, parameters: Sequence[ir.Value], codes: ir.DataType, name: str
) -> list[ir.Node]:
    """Q and DQ of ``value``, not yet in the graph.

    Without a zero point ``output_dtype`` says what the codes are: so are those of floats, for ONNX Runtime (1.32) takes
    a zero point of FP8 for one of uint8, and a ReLU or Clip in front of the Q away as if that cut at zero itself.
    """
    typed = {} if len(parameters) > 1 else {"output_dtype": codes.value}
    quantize = edits.node(
        "QuantizeLinear", [value, *parameters], f"{name}/Q", f"{name}/{codes.name.lower()}", codes, value.shape, typed
    )
    inputs = [quantize.outputs[0], *parameters]
    dequantize = edits.node(
        "DequantizeLinear", inputs, f"{name}/DQ", f"{name}/dequantized", dtype_of(value), value.shape
    )
    return [quantize, dequantize]


def insert_weight(
    edits: GraphEdits,
    nodes: Mapping[str, ir.Node],
    value: ir.Value,
    point: WeightPoint,
    search: ScaleSearch,
    settled: QuantizedWeight | None = None,
    numbers: NumberType = INT8,
) -> Floats:
    """Put one weight's codes and DequantizeLinear into the graph; returns its scales, one per channel."""
    tensor = constant_tensor(value)
    assert tensor is not None
    graph, name = edits.graph, str(value.name)
    scale = settled.scale if settled is not None else search(tensor, point.axis, numbers)
    kind = numbers.dtype.name.lower()
    codes: ir.TensorProtocol
    if settled is not None:
        codes = ir.Tensor(settled.codes, dtype=numbers.dtype, name=f"{name}/{kind}")
    else:
        codes = lazy_codes(tensor, point.axis, scale, f"{name}/{kind}", numbers)
    inputs = [edits.initializer(codes), edits.constant(f"{name}/scale", scale, tensor.dtype)]
    if numbers.whole and (len(tensor.shape) <= 2 or not any(nodes[use.node].op_type == "MatMul" for use in point.uses)):
        # ONNX Runtime's fused product of a stack of matrices refuses a zero point per column; without one it takes it.
        inputs.append(edits.constant(f"{name}/zero", np.zeros(len(scale), numbers.numpy)))
    dequantize = edits.node(
        "DequantizeLinear", inputs, f"{name}/DQ", f"{name}/dequantized", tensor.dtype, value.shape, {"axis": point.axis}
    )
    graph.insert_before(graph[0], dequantize)
    rewire(nodes, point.uses, dequantize.outputs[0])
    drop_if_unread(graph, value)
    return scale
