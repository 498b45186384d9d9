"""Fold BatchNormalization in inference form into the Conv, ConvTranspose or Gemm before it.

gamma (y - mean) / sqrt(var + eps) + beta, the formula of the ONNX operator, is a scale and a shift per channel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, constant_array, only_consumer
from graphs.writing.edits import GraphEdits, bypass
from optimizer.passes.base import PassResult
from optimizer.passes.folding.output_affine import absorb, absorbing_channels


class FoldBatchNorm:
    """A batch-norm whose input has another consumer, or does not come straight from a weighted node, stays."""

    name = "fold batch-norm"

    def apply(self, model: ir.Model) -> PassResult:
        folded, edits = 0, GraphEdits(model.graph)
        for graph in list(model.graphs()):
            for node in list(graph):
                folded += node.op_type == "BatchNormalization" and _fold(edits, node)
        return PassResult(folded, (f"{folded} batch-norms folded into weights",) if folded else ())


def _fold(edits: GraphEdits, node: ir.Node) -> bool:
    source = node.inputs[0]
    producer = source.producer() if source is not None else None
    if source is None or producer is None or only_consumer(source) is not node or _is_training(node):
        return False
    channels = absorbing_channels(producer)
    affine = _affine(node)
    if channels is None or affine is None or len(affine[0]) != channels:
        return False
    absorb(edits, producer, *affine)
    bypass(node, source)
    return True


def _is_training(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("training_mode", 0)) or any(output.uses() for output in node.outputs[1:])


def _affine(node: ir.Node) -> tuple[Array, Array] | None:
    constants = [constant_array(value) for value in node.inputs[1:5]]
    if any(constant is None for constant in constants):
        return None
    gamma, beta, mean, variance = (np.asarray(constant, np.float64) for constant in constants)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale
