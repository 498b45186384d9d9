"""Operators that multiply data by a weight: which they are, and what the axes of data and weight count."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.operators import is_standard

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Their data is input 0, their weight input 1."""
INTEGER_PRODUCTS = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"})
"""Products whose operands are stored as integers."""
RECURRENT_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Operators that multiply data by one weight and their state by another, once per gate and step."""
FLOAT_PRODUCTS = WEIGHTED | {"DeformConv", "Einsum", *RECURRENT_GATES}
"""Every operator that sums products: they hold the work of a model."""


def is_weighted(node: ir.Node) -> bool:
    """Whether ``node`` is one of ONNX's own weighted operators; its weight may still be computed."""
    return node.op_type in WEIGHTED and is_standard(node)


def operands(node: ir.Node) -> tuple[int, int] | None:
    """Which two inputs a product multiplies; None for one of another number of operands, and for any other operator."""
    if not is_standard(node):
        return None
    if node.op_type in ("QLinearConv", "QLinearMatMul"):
        return 0, 3
    return (0, 1) if node.op_type in WEIGHTED | INTEGER_PRODUCTS | {"DeformConv"} else None


def group(node: ir.Node) -> int:
    """How many groups the channels of a convolution fall into."""
    return node.attributes.get_int("group", 1)


def output_axis(node: ir.Node, rank: int) -> int:
    """The axis of the weight that runs over output channels.

    Of a ConvTranspose it runs over those of one group; the groups are stacked along the reduction axis.
    """
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return rank - 1


def reduction_axis(node: ir.Node, rank: int) -> int:
    """The axis of the weight that the product sums over: input channels, of a Conv those of one group."""
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        return 1 - output_axis(node, rank)
    return max(rank - 2, 0)


def output_channels(node: ir.Node, shape: tuple[int, ...]) -> int:
    """How many output channels a weight of ``shape`` gives, all groups together."""
    return shape[output_axis(node, len(shape))] * (group(node) if node.op_type == "ConvTranspose" else 1)


@dataclass(frozen=True)
class WeightedOp:
    """A node with a constant weight: ``axis`` holds the output channels, ``reduction`` is the dot-product length."""

    node: ir.Node
    axis: int
    channels: int
    reduction: int

    @property
    def weight(self) -> ir.Value:
        """The weight as it is now: corrections replace it."""
        value = self.node.inputs[1]
        assert value is not None
        return value

    @property
    def tensor(self) -> ir.TensorProtocol:
        tensor = constant_tensor(self.weight)
        assert tensor is not None
        return tensor

    @property
    def depthwise(self) -> bool:
        alone = self.node.op_type == "Conv" and group(self.node) == self.channels > 1
        return alone and self.tensor.shape.numpy()[1] == 1

    @property
    def data_axis(self) -> int:
        """The axis of the data that its weight's input channels contract with."""
        return 1 if self.node.op_type in ("Conv", "ConvTranspose") else -1

    @property
    def input_axis(self) -> int | None:
        """The weight axis of the input channels, for a depthwise convolution that of its outputs; None for other
        grouped ones, whose channels are interleaved, and for a stack of matrices.
        """
        if self.depthwise:
            return 0
        rank = len(self.tensor.shape)
        if group(self.node) > 1 or (self.node.op_type == "MatMul" and rank != 2):
            return None
        return reduction_axis(self.node, rank)

    @property
    def bias(self) -> ir.TensorProtocol | None:
        """The constant bias input of a Conv, ConvTranspose or Gemm."""
        return constant_tensor(self.node.inputs[2]) if len(self.node.inputs) > 2 else None
