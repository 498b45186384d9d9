"""Weights in blocks as a graph holds them: codes, scales as their scheme stores them, and what dequantizes the two.

Scales in the type of the data stand beside the codes in ONNX's blocked DequantizeLinear (opset 21). FP8 scales are
dequantized themselves, by one float32, and the result is the scale of a second DequantizeLinear: TensorRT's form of
NVFP4. Powers of two are read by an operator of TensorRT's own, for ONNX's DequantizeLinear of its release takes none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.number_types import E4M3, Floats
from graphs.writing.edits import GraphEdits, drop_if_unread, dtype_of
from optimizer.quantization.codes.blocks import codes_of, exponents_of, level_of, search_scales, values_of
from optimizer.quantization.codes.scheme import ActivationScheme, Scales
from optimizer.quantization.codes.weights import QuantizedWeight, as_float32, per_channel
from optimizer.quantization.placement.insertion_points import WeightPoint, rewire

TENSORRT_DOMAIN = "trt"
"""Where TensorRT's parser looks for its own operators first; it takes them without a domain, too."""


def weight_values(known: QuantizedWeight, point: WeightPoint) -> Floats:
    """What the codes of a weight stand for, in its tensor's layout, float32."""
    if not point.codes.block:
        return known.codes.astype(np.float32) * per_channel(known.codes, point.axis, known.scale)
    if point.axis == 0:
        return values_of(known.codes, known.scale, point.codes)
    return np.ascontiguousarray(values_of(known.codes.T, known.scale.T, point.codes).T)


def rounded_in_blocks(tensor: ir.TensorProtocol, point: WeightPoint) -> QuantizedWeight:
    """A matrix at the scales of least squared error, each weight as important as the other."""
    weight = as_float32(tensor)
    rows = np.ascontiguousarray(weight if point.axis == 0 else weight.T)
    scales = search_scales(rows, point.codes)
    codes = codes_of(rows, scales, point.codes)
    return QuantizedWeight(codes, scales) if point.axis == 0 else QuantizedWeight(codes.T.copy(), scales.T.copy())


def insert_block_weight(
    edits: GraphEdits,
    nodes: Mapping[str, ir.Node],
    value: ir.Value,
    point: WeightPoint,
    settled: QuantizedWeight | None = None,
) -> None:
    """Put the codes, scales and dequantizers of one matrix into the graph, in place of ``value``."""
    tensor = constant_tensor(value)
    assert tensor is not None
    known, scheme, name = settled or rounded_in_blocks(tensor, point), point.codes, str(value.name)
    kind = scheme.numbers.dtype
    codes = edits.initializer(ir.Tensor(known.codes, dtype=kind, name=f"{name}/{kind.name.lower()}"))
    attributes = {"axis": 1 - point.axis, "block_size": scheme.block}
    before = []
    if scheme.scales is Scales.E8M0:
        exponents = edits.constant(f"{name}/exponents", exponents_of(known.scale))
        made = powers_of_two(edits, codes, exponents, name, tensor.dtype, value.shape, attributes)
    else:
        if scheme.scales is Scales.E4M3:
            before = [_two_levels(edits, known.scale, name)]
            scale = before[0].outputs[0]
        else:
            scale = edits.constant(f"{name}/scale", known.scale, tensor.dtype)
        made = edits.node(
            "DequantizeLinear",
            [codes, scale],
            f"{name}/DQ",
            f"{name}/dequantized",
            tensor.dtype,
            value.shape,
            attributes,
        )
    edits.graph.insert_before(edits.graph[0], [*before, made])
    rewire(nodes, point.uses, made.outputs[0])
    drop_if_unread(edits.graph, value)


def quantized_in_blocks(edits: GraphEdits, value: ir.Value, scheme: ActivationScheme, level: Floats) -> list[ir.Node]:
    """Nodes, not yet in the graph, that round ``value`` in blocks along its last axis as the model runs; ``level`` is
    the one scale above FP8 scales, of no use to powers of two.
    """
    edits.uses_domain(TENSORRT_DOMAIN)
    name, kind, two_levels = str(value.name), scheme.dtype, scheme.scales is Scales.E4M3
    top = edits.constant(f"{name}/level", level) if two_levels else None
    attributes = {"axis": -1, "block_size": scheme.block}
    what = {"scale_type": E4M3.dtype.value} if two_levels else {"output_dtype": kind.value}
    operator = "TRT_FP4DynamicQuantize" if two_levels else "TRT_MXFP8DynamicQuantize"
    quantize = ir.Node(
        TENSORRT_DOMAIN,
        operator,
        [value] if top is None else [value, top],
        [ir.AttrInt64(key, number) for key, number in (attributes | what).items()],
        num_outputs=2,
        name=edits.names.node(f"{name}/Q"),
    )
    codes, scales = quantize.outputs
    edits.describe(codes, f"{name}/{kind.name.lower()}", kind, value.shape)
    edits.describe(scales, f"{name}/scale_codes", E4M3.dtype if two_levels else ir.DataType.FLOAT8E8M0, None)
    if top is None:
        made = powers_of_two(edits, codes, scales, name, dtype_of(value), value.shape, attributes)
        return [quantize, made]
    scale = edits.node("DequantizeLinear", [scales, top], f"{name}/scale_DQ", f"{name}/scale", ir.DataType.FLOAT, None)
    output = f"{name}/dequantized"
    made = edits.node(
        "DequantizeLinear", [codes, scale.outputs[0]], f"{name}/DQ", output, dtype_of(value), value.shape, attributes
    )
    return [quantize, scale, made]


def _two_levels(edits: GraphEdits, scales: Floats, name: str) -> ir.Node:
    """The dequantizer of FP8 scales; its result is float32."""
    level = level_of(scales)
    codes = ir.Tensor((scales / level).astype(E4M3.numpy), dtype=E4M3.dtype, name=f"{name}/scale_codes")
    inputs = [edits.initializer(codes), edits.constant(f"{name}/level", level)]
    shape = ir.Shape(scales.shape)
    return edits.node("DequantizeLinear", inputs, f"{name}/scale_DQ", f"{name}/scale", ir.DataType.FLOAT, shape)


def powers_of_two(
    edits: GraphEdits,
    codes: ir.Value,
    exponents: ir.Value,
    name: str,
    dtype: ir.DataType,
    shape: ir.Shape | None,
    attributes: Mapping[str, int],
) -> ir.Node:
    """TensorRT's dequantizer of blocks whose scales are exponents, not yet in the graph."""
    edits.uses_domain(TENSORRT_DOMAIN)
    wanted = {**attributes, "output_dtype": dtype.value}
    node = ir.node(
        "TRT_MXFP8DequantizeLinear",
        [codes, exponents],
        wanted,
        domain=TENSORRT_DOMAIN,
        name=edits.names.node(f"{name}/DQ"),
    )
    edits.describe(node.outputs[0], f"{name}/dequantized", dtype, shape)
    return node
