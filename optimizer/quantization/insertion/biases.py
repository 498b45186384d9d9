"""Biases as integer codes; and those that ONNX Runtime would round away, written so that it leaves them alone.

ONNX Runtime's ``WeightBiasQuantization`` (``core/optimizer/qdq_transformer/weight_bias_quantization.cc``, up to 1.31)
rewrites the float bias of a Conv or Gemm between DequantizeLinear and QuantizeLinear as int32 codes at scale
``s_x·s_w``, computed in the type of the bias. In a float16 graph codes beyond 65,504 become infinite, as ordinary
convolutions have them (MobileNetV2 fell from 22.8 dB to −6.8 in ONNX Runtime's default session); in float32 those
beyond int32 wrap around. It does so only where nothing but that Q reads the result, so a second reader keeps it away:
a ``Size`` whose own result nobody needs. TensorRT drops a layer that leads nowhere.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.reading.constants import constant_tensor, input_at
from graphs.writing.edits import GraphEdits, drop_if_unread
from optimizer.quantization.codes.weights import as_float32

_REWRITTEN = frozenset({"Conv", "ConvTranspose", "Gemm"})
_BETWEEN = frozenset({"Relu", "Clip"})
_WITH_BIAS = ("Conv", "Gemm")
_INT32_SAFE = 2.0**30
"""Largest bias code: half of int32, since the product's sum comes on top."""
_LARGEST = {ir.DataType.FLOAT16: float(np.finfo(np.float16).max), ir.DataType.FLOAT: _INT32_SAFE}
"""The same by the type it is computed in."""


def keep_biases_apart(model: ir.Model) -> int:
    """Give results whose bias would not survive a second reader, in place; returns how many."""
    edits = GraphEdits(model.graph)
    apart = 0
    for node in tuple(model.graph):
        if node.op_type not in _REWRITTEN or len(node.inputs) < 3 or _fits(node):
            continue
        result = _before_quantize(node)
        if result is not None:
            name = f"{result.name}/bias_apart"
            size = edits.node("Size", [result], name, f"{name}/size", ir.DataType.INT64, ir.Shape([]))
            producer = result.producer()
            assert producer is not None
            model.graph.insert_after(producer, size)
            apart += 1
    return apart


def _fits(node: ir.Node) -> bool:
    """Whether the codes of the bias fit the type they are computed in, or there is nothing to be rewritten."""
    data, weight, bias = (_scale(node.inputs[0]), _scale(node.inputs[1]), constant_tensor(node.inputs[2]))
    if data is None or weight is None or bias is None or bias.dtype not in _LARGEST:
        return True
    with np.errstate(over="ignore", under="ignore"):
        step = (data * weight).astype(bias.dtype.numpy()).astype(np.float64)
    return bool((step > 0).all() and (np.abs(bias.numpy().astype(np.float64)) <= _LARGEST[bias.dtype] * step).all())


def _scale(value: ir.Value | None) -> np.ndarray | None:
    """The constant scale that ``value`` is dequantized with."""
    producer = value.producer() if value is not None else None
    if producer is None or producer.op_type != "DequantizeLinear":
        return None
    scale = constant_tensor(producer.inputs[1])
    return None if scale is None else scale.numpy().astype(np.float64)


def _before_quantize(node: ir.Node) -> ir.Value | None:
    """What is quantized: the output of ``node``, or of the ReLU or Clip behind it; None where others read it too."""
    value = node.outputs[0]
    while len(value.uses()) == 1 and not value.is_graph_output():
        (reader,) = value.consumers()
        if reader.op_type == "QuantizeLinear":
            return value
        if reader.op_type not in _BETWEEN:
            return None
        value = reader.outputs[0]
    return None


def least_weight_scales(node: ir.Node, data_scale: float) -> NDArray[np.float64]:
    """The weight scales [channels] from which on the bias of ``node`` has int32 codes; one zero where it needs none."""
    tensor = _constant_bias(node)
    return np.zeros(1) if tensor is None else np.abs(as_float32(tensor)).astype(np.float64) / (_INT32_SAFE * data_scale)


def _constant_bias(node: ir.Node) -> ir.TensorProtocol | None:
    value = node.inputs[2] if node.op_type in _WITH_BIAS and len(node.inputs) > 2 else None
    return constant_tensor(value) if value is not None and value.name and _default_gemm(node) else None


def quantize_bias(edits: GraphEdits, node: ir.Node, scale: NDArray[np.float64]) -> None:
    """Replace a constant float bias by int32 codes at ``scale`` [channels], data's times weight's, which kernels add
    exactly. One that has no such codes stays float, and its op too: see ``keep_biases_apart``.
    """
    tensor, value = _constant_bias(node), input_at(node, 2)
    if value is None or tensor is None:
        return
    bias = as_float32(tensor).astype(np.float64)
    if bias.shape != scale.shape or (np.abs(bias) > _INT32_SAFE * scale).any():
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
