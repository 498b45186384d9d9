"""Which weights 2:4 sparsity is for, why the others stay dense, and which are 2:4 as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.two_four import SPARSE_OPS, is_two_four
from graphs.reading.weighted import WEIGHTED, group, is_weighted, output_axis, reduction_axis
from optimizer.sparsity.pattern import TWO_FOUR

FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
SMALLEST_CHANNELS = 16
"""Below this many input or output channels no sparse tensor-core tile is filled: ``mma.sp`` is 16 x 8 x 32 in FP16 (PTX
ISA, "Warp-level matrix instructions for sparse matrix multiply-accumulate")."""
GAINING_CHANNELS = 256
"""TensorRT's maintainers see sparse kernels win from so many channels of the reduction and of the output on
(github.com/NVIDIA/TensorRT/issues/4065); the taps of a convolution multiply its reduction (issue 3849)."""
GIVEN = f"{TWO_FOUR} in the model as given"
PRUNED = f"{TWO_FOUR} along the input channels"


@dataclass(frozen=True)
class SparseWeight:
    """A constant weight and the ``nodes`` that read it as such, all alike: ``axis`` of it runs over the reduction.

    ``reason`` says why it stays dense, and is empty for one that is or can be 2:4; ``given``: it is as it comes.
    """

    nodes: tuple[ir.Node, ...]
    axis: int
    shape: tuple[int, ...]
    reason: str = ""
    given: bool = False

    @property
    def name(self) -> str:
        """Of the first node that reads it."""
        return str(self.nodes[0].name)

    @property
    def data_axis(self) -> int:
        """The axis of the data that counts its input channels."""
        return 1 if self.nodes[0].op_type == "Conv" else -1

    @property
    def prunable(self) -> bool:
        """Whether it is dense and need not be."""
        return not self.reason and not self.given

    @property
    def likely_to_gain(self) -> bool:
        """Whether it is as large as TensorRT's maintainers advise (``GAINING_CHANNELS``)."""
        if len(self.shape) < 2:
            return False
        outputs = self.shape[output_axis(self.nodes[0], len(self.shape))]
        reduction = prod(self.shape) // max(outputs, 1) if self.nodes[0].op_type == "Conv" else self.shape[self.axis]
        return min(outputs, reduction) >= GAINING_CHANNELS

    @property
    def told(self) -> str:
        """Why it is dense, or how it is 2:4, once everything prunable is pruned."""
        return self.reason or (GIVEN if self.given else PRUNED)

    def notes(self) -> Iterator[str]:
        """A line for every node: what becomes of it."""
        what = f"dense: {self.reason}" if self.reason else self.told
        yield from (f"{node.name}: {what}" for node in self.nodes)


def survey(model: ir.Model) -> list[SparseWeight]:
    """Every weighted operator that TensorRT has sparse tactics for, by weight, in graph order. Reads eligible ones.

    A weight whose readers differ in what keeps them dense stands there once for each reason.
    """
    readers: dict[tuple[ir.Value | ir.Node, str], list[ir.Node]] = {}
    for graph in model.graphs():
        for node in graph:
            if node.op_type in SPARSE_OPS and is_weighted(node):
                readers.setdefault((node.inputs[1] or node, ineligible(node, model)), []).append(node)
    return [_surveyed(nodes, reason) for (_, reason), nodes in readers.items()]


def _surveyed(nodes: list[ir.Node], reason: str) -> SparseWeight:
    tensor = constant_tensor(nodes[0].inputs[1])
    shape = tuple(tensor.shape.numpy()) if tensor is not None else ()
    axis = reduction_axis(nodes[0], len(shape)) if shape else 0
    given = False
    if tensor is not None and (not reason or (reason == FIRST_LAYER and not _shape_reason(nodes[0], shape))):
        array = tensor.numpy()
        given = is_two_four(array, axis) and bool(np.any(array))  # a first layer, too: whoever made it so trained it so
    return SparseWeight(tuple(nodes), axis, shape, "" if given else reason, given)


def ineligible(node: ir.Node, model: ir.Model) -> str:
    """Why a weighted node stays dense; empty when it can be pruned."""
    weight = node.inputs[1]
    tensor = constant_tensor(weight)
    if weight is None or tensor is None:
        return "its second operand is no constant weight"
    if tensor.dtype not in FLOATS:
        return f"its weight is {tensor.dtype.name.lower()}: prune before quantizing"
    shape = tuple(tensor.shape.numpy())
    if len(shape) < 2:
        return "its weight is a vector"
    if node.op_type == "Conv" and group(node) > 1:
        return "grouped convolution"
    if _reads_graph_input(node, model):
        return FIRST_LAYER
    if reason := _shape_reason(node, shape):
        return reason
    axes = {reduction_axis(user, len(shape)) for user, index in weight.uses() if index == 1}
    if len(axes) > 1 or any(index != 1 or not is_weighted(user) for user, index in weight.uses()):
        return "its weight is shared with an operator that reads it another way"
    return ""


FIRST_LAYER = "first layer: too sensitive, and few channels"


def _shape_reason(node: ir.Node, shape: tuple[int, ...]) -> str:
    """Of a weight of two axes or more."""
    inputs, outputs = shape[reduction_axis(node, len(shape))], shape[output_axis(node, len(shape))]
    if inputs % 4:
        return f"{inputs} input channels are no multiple of 4"
    if min(inputs, outputs) < SMALLEST_CHANNELS:
        return f"{inputs} x {outputs} channels fill no sparse tile"
    return ""


def _reads_graph_input(node: ir.Node, model: ir.Model) -> bool:
    """Whether the data comes from a graph input with nothing weighted in between."""
    seen: set[ir.Value] = set()
    stack = [node.inputs[0]]
    while stack:
        value = stack.pop()
        if value is None or value in seen or value.is_initializer():
            continue
        seen.add(value)
        if value in model.graph.inputs:
            return value.dtype in FLOATS
        producer = value.producer()
        if producer is not None and producer.op_type not in (*WEIGHTED, "LSTM", "GRU", "Gather", "If"):
            stack += list(producer.inputs)
    return False
