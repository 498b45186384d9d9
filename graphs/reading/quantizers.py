"""Reading the quantization of a graph: pairs of Q and DQ on activations, and constants behind a DQ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.reading.constants import Array, along, constant_array, constant_tensor, input_at
from graphs.reading.number_types import MIDDLE
from graphs.reading.operators import is_standard

Q, DQ = "QuantizeLinear", "DequantizeLinear"
EIGHT_BITS = {ir.DataType.INT8: (-128, 127), ir.DataType.UINT8: (0, 255)}
"""Lowest and highest code by type."""
_EDGE = 1e-5
"""Scales of a Q and its DQs that differ by less, relative to either, are one: exporters write them twice, rounded.
Chosen."""


@dataclass(frozen=True)
class Pair:
    """A Q of an activation and the DQs that alone read its codes, with one scale and one zero point."""

    quantize: ir.Node
    dequantizes: tuple[ir.Node, ...]
    scale: float
    zero: int
    dtype: ir.DataType

    @property
    def data(self) -> ir.Value:
        """What is quantized."""
        value = self.quantize.inputs[0]
        assert value is not None
        return value

    @property
    def low(self) -> float:
        """The least number that has a code."""
        return (EIGHT_BITS[self.dtype][0] - self.zero) * self.scale

    @property
    def high(self) -> float:
        return (EIGHT_BITS[self.dtype][1] - self.zero) * self.scale

    @property
    def symmetric(self) -> bool:
        """Whether the codes are spread around zero, as TensorRT has them, signed or not."""
        return self.zero == (0 if self.dtype is ir.DataType.INT8 else MIDDLE)

    @property
    def one_sided(self) -> bool:
        """Whether no number of one sign has a code: exporters leave out a ReLU before such a pair."""
        return self.zero in EIGHT_BITS[self.dtype]

    def readers(self) -> list[tuple[ir.Node, int]]:
        """Who reads the dequantized numbers, and as which operand."""
        return [(use.node, use.idx) for node in self.dequantizes for use in node.outputs[0].uses()]


@dataclass(frozen=True)
class Weight:
    """A constant of 8-bit codes behind ``dequantize``; ``axis`` holds its scales, None for one scale or for blocks."""

    dequantize: ir.Node
    codes: ir.TensorProtocol
    scale: NDArray[np.floating]
    zero: NDArray[np.integer]
    axis: int | None

    @property
    def blocked(self) -> bool:
        return bool(self.dequantize.attributes.get_int("block_size", 0))

    def spread(self, array: Array) -> Array:
        """Scales or zero points so that they broadcast with the codes."""
        return along(array, self.axis, len(self.codes.shape))

    def numbers(self) -> NDArray[np.float32]:
        """The weight that the codes stand for."""
        steps = self.codes.numpy().astype(np.int32) - self.spread(self.zero.astype(np.int32))
        numbers: NDArray[np.float32] = (steps * self.spread(self.scale.astype(np.float64))).astype(np.float32)
        return numbers


def pair_of(quantize: ir.Node) -> Pair | None:
    """The pair that ``quantize`` begins; None where it is no plain 8-bit one of an activation."""
    if quantize.op_type != Q or not is_standard(quantize) or constant_tensor(quantize.inputs[0]) is not None:
        return None
    found = parameters(quantize)
    codes = quantize.outputs[0]
    users = [use.node for use in codes.uses()]
    if found is None or found[0].size != 1 or not users or codes.is_graph_output():
        return None
    for user in users:
        own = parameters(user) if user.op_type == DQ and is_standard(user) else None
        if own is None or own[0].size != 1 or not _alike(own[0], found[0]) or own[1].item() != found[1].item():
            return None
    scale, zero = found
    return Pair(quantize, tuple(users), scale.item(), int(zero.item()), ir.DataType.from_numpy(zero.dtype))


def _alike(first: NDArray[np.floating], second: NDArray[np.floating]) -> bool:
    return bool(abs(first.item() - second.item()) <= _EDGE * abs(second.item()))


def pairs(graph: ir.Graph) -> Iterator[Pair]:
    """Every pair of ``graph``, in order; changing the graph meanwhile is safe."""
    for node in list(graph):
        if node.graph is graph and (found := pair_of(node)) is not None:
            yield found


def weight_of(dequantize: ir.Node) -> Weight | None:
    """The weight that ``dequantize`` gives; None where its codes are computed, or wider than 8 bits."""
    if dequantize.op_type != DQ or not is_standard(dequantize):
        return None
    codes, found = constant_tensor(dequantize.inputs[0]), parameters(dequantize)
    if codes is None or codes.dtype not in EIGHT_BITS or found is None:
        return None
    scale, zero = found
    blocked = bool(dequantize.attributes.get_int("block_size", 0))
    axis = None if scale.size == 1 or blocked else dequantize.attributes.get_int("axis", 1) % len(codes.shape)
    return Weight(dequantize, codes, scale if blocked else scale.reshape(-1), zero.reshape(-1), axis)


def weights(graph: ir.Graph) -> Iterator[Weight]:
    for node in list(graph):
        if node.graph is graph and (found := weight_of(node)) is not None:
            yield found


def parameters(node: ir.Node) -> tuple[NDArray[np.floating], NDArray[np.integer]] | None:
    """Constant scale and 8-bit zero point of a Q or DQ; without a zero point, what the standard says it then is."""
    scale = constant_array(node.inputs[1])
    given = input_at(node, 2)
    zero = constant_array(given)
    if scale is None or (given is not None and zero is None):
        return None
    if zero is None:
        dtype = type_without_zero(node)
        if dtype not in EIGHT_BITS:
            return None
        zero = np.zeros(scale.shape, dtype.numpy())
    if ir.DataType.from_numpy(zero.dtype) not in EIGHT_BITS or not np.issubdtype(scale.dtype, np.floating):
        return None
    return scale, zero


def type_without_zero(node: ir.Node) -> ir.DataType:
    """The type of the codes of a Q or DQ that has no zero point, by the standard."""
    if node.op_type == Q:
        return ir.DataType(node.attributes.get_int("output_dtype", 0) or ir.DataType.UINT8.value)
    source = node.inputs[0]
    return (source.dtype if source is not None else None) or ir.DataType.UINT8
