"""The float model behind a quantized one: no activation is rounded, weights are the numbers their codes stand for."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.quantizers import pairs, weights
from graphs.writing.edits import GraphEdits, drop_unused_initializers
from optimizer.passes.base import PassResult
from optimizer.prequantized.edges import bypass_pair, removable
from optimizer.prequantized.tensorrt.borders import numbers_at_borders
from optimizer.prequantized.tensorrt.half_quantized import as_numbers


class WithoutQuantization:
    """Takes Q/DQ out. A pair that gave numbers of one sign only leaves a Clip: exporters let it stand for a ReLU.
    Outputs of codes are still rounded, and weights in blocks, which are stored so to be small, stay codes.
    """

    name = "take quantization out"

    def apply(self, model: ir.Model) -> PassResult:
        numbers_at_borders(model)
        edits, activations, constants = GraphEdits(model.graph), 0, 0
        for pair in pairs(model.graph):
            if removable(pair):
                bypass_pair(edits, pair)
                activations += 1
        for weight in weights(model.graph):
            if not weight.blocked and not weight.dequantize.outputs[0].is_graph_output():
                as_numbers(edits, weight)
                constants += 1
        drop_unused_initializers(model)
        if not activations + constants:
            return PassResult(0)
        note = (
            f"the quantization of the source is left out: {activations} activations are not rounded, {constants} "
            "weights are the numbers that their codes stand for"
        )
        return PassResult(activations + constants, (note,))
