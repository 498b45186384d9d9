"""Fold a constant Mul, Div, Add or Sub per channel into the Conv, ConvTranspose or Gemm before it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, constant_array, constant_tensor, only_consumer
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, bypass
from optimizer.passes.base import PassResult
from optimizer.passes.folding.output_affine import absorb, absorbing_channels, output_rank

_COMMUTATIVE = ("Mul", "Add")
_OPS = (*_COMMUTATIVE, "Div", "Sub")


class FoldAffine:
    """Only constants that are one number per output channel, or a single number, fold: anything else is no bias."""

    name = "fold affine"

    def apply(self, model: ir.Model) -> PassResult:
        folded, edits = 0, GraphEdits(model.graph)
        for graph in list(model.graphs()):
            for node in list(graph):
                folded += node.op_type in _OPS and is_standard(node) and _fold(edits, node)
        return PassResult(folded, (f"{folded} constant scales and shifts folded into weights",) if folded else ())


def _fold(edits: GraphEdits, node: ir.Node) -> bool:
    for data, operand in ((0, 1), (1, 0)) if node.op_type in _COMMUTATIVE else ((0, 1),):
        source, constant = node.inputs[data], node.inputs[operand]
        producer = source.producer() if source is not None else None
        if source is None or producer is None or only_consumer(source) is not node:
            continue
        channels = absorbing_channels(producer)
        if channels is None or constant_tensor(constant) is None:
            continue
        vector = _per_channel(constant, channels, output_rank(producer), producer.op_type == "Gemm")
        if vector is None or (node.op_type == "Div" and not np.all(vector)):
            continue
        absorb(edits, producer, *_affine(node.op_type, vector))
        bypass(node, source)
        return True
    return False


def _per_channel(value: ir.Value | None, channels: int, rank: int, last_axis: bool) -> Array | None:
    """The constant as float64 [channels] when it broadcasts along the channel axis only and does not raise the rank."""
    tensor = constant_tensor(value)
    if tensor is None or not tensor.dtype.is_floating_point() or tensor.size not in (1, channels):
        return None
    shape = tensor.shape.numpy()
    if len(shape) > rank:
        return None
    if tensor.size > 1:
        aligned = (1,) * (rank - len(shape)) + tuple(shape)
        if aligned[rank - 1 if last_axis else 1] != channels:
            return None
    array = constant_array(value)
    assert array is not None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,))


def _affine(op_type: str, vector: Array) -> tuple[Array, Array]:
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if op_type == "Mul":
        return vector, zero
    if op_type == "Div":
        return 1 / vector, zero
    return one, vector if op_type == "Add" else -vector
