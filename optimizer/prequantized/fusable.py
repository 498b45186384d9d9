"""Which pairs TensorRT makes an integer kernel of, and which only round what stays float.

After NVIDIA's rules of placement ("Working with Quantized Types"): an integer kernel needs all its operands quantized;
pooling, reshaping and the like pass codes on; a Q between a convolution and its activation or sum keeps them apart.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.reading.quantizers import DQ, Pair, pairs
from graphs.reading.weighted import is_weighted
from optimizer.quantization.rules.commuting import AVERAGING, moves_values
from optimizer.quantization.rules.floats import EPILOGUES
from optimizer.quantization.rules.residual import depths, skip_input


def dequantized(value: ir.Value | None) -> bool:
    """Whether ``value`` comes from a DQ, directly or moved."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == DQ:
            return True
        if node.op_type == "Concat":
            return all(dequantized(source) for source in node.inputs)
        if not moves_values(node):
            return False
        value = node.inputs[0]
    return False


def is_integer_product(node: ir.Node) -> bool:
    """Whether both operands of a weighted operator come quantized."""
    return is_weighted(node) and dequantized(node.inputs[0]) and dequantized(node.inputs[1])


def is_integer_conv(node: ir.Node) -> bool:
    return node.op_type in ("Conv", "ConvTranspose") and is_integer_product(node)


class Fusable:
    """Says of the pairs of one graph, as it is now, whether TensorRT needs them."""

    def __init__(self, graph: ir.Graph) -> None:
        self._pairs = {pair.quantize: pair for pair in pairs(graph)}
        self._known: dict[ir.Node, bool] = {}
        self._depths = depths(graph)

    @property
    def pairs(self) -> list[Pair]:
        return list(self._pairs.values())

    def needed(self, pair: Pair) -> bool:
        """Whether an integer kernel reads it."""
        if pair.quantize not in self._known:
            self._known[pair.quantize] = False  # what leads back to itself is no reader
            self._known[pair.quantize] = any(self._reads(node, index) for node, index in pair.readers())
        return self._known[pair.quantize]

    def _reads(self, node: ir.Node, index: int) -> bool:
        if not is_standard(node):
            return False
        if is_weighted(node):
            return index < 2 and is_integer_product(node)
        if node.op_type == "Add":
            return self._sums(node) and self._leads_to_codes(node.outputs[0])
        if node.op_type in AVERAGING:
            return self._leads_to_codes(node.outputs[0])
        if moves_values(node):
            return self._moves_on(node)
        return False

    def _sums(self, add: ir.Node) -> bool:
        """Whether a kernel adds codes here: in the epilogue of a convolution, or of two quantized tensors."""
        skip = skip_input(add, is_integer_conv, lambda value: self._depths.get(value, 0))
        return skip is not None or all(dequantized(value) for value in add.inputs)

    def _moves_on(self, node: ir.Node) -> bool:
        for use in (use for output in node.outputs for use in output.uses()):
            pair = self._pairs.get(use.node)
            if self.needed(pair) if pair is not None else self._reads(use.node, use.idx):
                return True
        return False

    def _leads_to_codes(self, value: ir.Value) -> bool:
        """Whether a needed pair quantizes ``value``, perhaps behind an activation or moved."""
        for use in value.uses():
            pair = self._pairs.get(use.node)
            if pair is not None and self.needed(pair):
                return True
            on = use.node.op_type in EPILOGUES or moves_values(use.node)
            if on and any(self._leads_to_codes(output) for output in use.node.outputs):
                return True
        return False

    def main_branch(self, add: ir.Node) -> Pair | None:
        """The pair on the branch of a residual sum that comes from a convolution: it keeps both apart. With a
        convolution on both sides, that of the longer one.
        """
        if add.op_type != "Add" or not all(dequantized(value) for value in add.inputs):
            return None
        found = []
        for value in add.inputs:
            node = value.producer() if value is not None else None
            quantize = node.inputs[0].producer() if node is not None and node.op_type == DQ and node.inputs[0] else None
            pair = self._pairs.get(quantize) if quantize is not None else None
            made = pair.data.producer() if pair is not None else None
            alone = pair is not None and len(pair.readers()) == 1 and len(pair.data.uses()) == 1
            if pair is not None and made is not None and alone and is_integer_conv(made):
                found.append(pair)
        return max(found, key=lambda pair: self._depths.get(pair.data, 0), default=None)
