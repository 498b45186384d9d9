"""2:4 structured sparsity: of every four weights in a row along the reduction, the two largest stay.

Ampere and later sparse tensor cores skip the two zeros. The row runs along the input channels: for Conv along C of
K C R S for every (k, r, s), for Gemm and MatMul along K. Source: Mishra et al., "Accelerating Sparse Deep Neural
Networks", arXiv:2104.08378, and the sparsity section of the TensorRT developer guide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.constants import constant_tensor
from graphs.edits import GraphEdits
from graphs.weighted import WEIGHTED, group, is_weighted, output_axis, reduction_axis
from optimizer.passes.base import PassResult

Array = NDArray[Any]

_SPARSE = ("Conv", "Gemm", "MatMul")
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
SMALLEST_CHANNELS = 16
"""Below this many input or output channels no sparse tensor-core tile is filled."""


class Sparsity:
    """Prunes every eligible weight to 2:4 by magnitude, in place, when the weight is next read.

    The notes say for every weighted node whether it was pruned or why not. Prune before quantizing: INT8 keeps zeros.
    """

    name = "prune 2:4"

    def apply(self, model: ir.Model) -> PassResult:
        pruned: dict[ir.Value, ir.Value] = {}
        notes, modified, edits = [], 0, GraphEdits(model.graph)
        nodes = [node for graph in model.graphs() for node in graph if node.op_type in _SPARSE and is_weighted(node)]
        for node in nodes:
            reason = ineligible(node, model)
            if reason:
                notes.append(f"{node.name}: dense: {reason}")
                continue
            _prune(edits, node, pruned)
            modified += 1
            notes.append(f"{node.name}: 2:4 along the input channels")
        return PassResult(modified, tuple(notes))


def ineligible(node: ir.Node, model: ir.Model) -> str:
    """Why a weighted node stays dense; empty when it can be pruned."""
    weight = node.inputs[1]
    tensor = constant_tensor(weight)
    if weight is None or tensor is None:
        return "its second operand is no constant weight"
    if tensor.dtype not in _FLOATS:
        return f"its weight is {tensor.dtype.name.lower()}: prune before quantizing"
    shape = tensor.shape.numpy()
    if len(shape) < 2:
        return "its weight is a vector"
    if node.op_type == "Conv" and group(node) > 1:
        return "grouped convolution"
    if _reads_graph_input(node, model):
        return "first layer: too sensitive, and few channels"
    axis = reduction_axis(node, len(shape))
    outputs = shape[output_axis(node, len(shape))]
    if shape[axis] % 4:
        return f"{shape[axis]} input channels are no multiple of 4"
    if min(shape[axis], outputs) < SMALLEST_CHANNELS:
        return f"{shape[axis]} x {outputs} channels fill no sparse tile"
    axes = {reduction_axis(user, len(shape)) for user, index in weight.uses() if index == 1}
    if len(axes) > 1 or any(index != 1 for _, index in weight.uses()):
        return "its weight is shared with an operator that reads it another way"
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
            return value.dtype in _FLOATS
        producer = value.producer()
        if producer is not None and producer.op_type not in (*WEIGHTED, "LSTM", "GRU", "Gather", "If"):
            stack += list(producer.inputs)
    return False


def _prune(edits: GraphEdits, node: ir.Node, pruned: dict[ir.Value, ir.Value]) -> None:
    weight, graph = node.inputs[1], node.graph
    assert weight is not None and weight.const_value is not None
    if weight not in pruned:
        owner = weight.graph if isinstance(weight.graph, ir.Graph) else graph
        assert isinstance(owner, ir.Graph) and weight.name is not None
        axis = reduction_axis(node, len(weight.const_value.shape))
        tensor = _lazy(weight.const_value, axis, f"{weight.name}_2_4")
        pruned[weight] = edits.within(owner).initializer(tensor)
    node.replace_input_with(1, pruned[weight])
    if not weight.uses() and isinstance(weight.graph, ir.Graph) and not weight.is_graph_output():
        replacement, owner = pruned[weight], weight.graph
        owner.initializers.pop(str(weight.name))
        owner.initializers.pop(str(replacement.name))
        replacement.name = weight.name
        owner.register_initializer(replacement)


def _lazy(tensor: ir.TensorProtocol, axis: int, name: str) -> ir.LazyTensor:
    return ir.LazyTensor(
        lambda: ir.Tensor(prune_two_four(tensor.numpy(), axis), dtype=tensor.dtype),
        dtype=tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
    )


def prune_two_four(weight: Array, axis: int) -> Array:
    """A copy of ``weight`` with the two smallest magnitudes of every four along ``axis`` set to zero.

    ``weight.shape[axis]`` must be a multiple of 4. Of equal magnitudes the first ones stay.
    """
    groups = _groups(weight, axis)
    magnitude = np.abs(groups)
    larger = np.zeros(groups.shape, np.int8)
    for i in range(4):
        for j in range(i + 1, 4):
            first = magnitude[..., i] >= magnitude[..., j]
            larger[..., j] += first
            larger[..., i] += ~first
    rows = np.where(larger < 2, groups, groups.dtype.type(0)).reshape(*groups.shape[:-2], -1)
    return np.ascontiguousarray(np.moveaxis(rows, -1, axis))


def is_two_four(weight: Array, axis: int) -> bool:
    """Whether every four consecutive weights along ``axis`` hold at least two zeros."""
    if weight.shape[axis] % 4:
        return False
    return bool(np.all(np.count_nonzero(_groups(weight, axis), axis=-1) <= 2))


def _groups(weight: Array, axis: int) -> Array:
    """``weight`` with ``axis`` last and cut in fours: [..., K / 4, 4]."""
    if weight.shape[axis] % 4:
        raise ValueError(f"axis {axis} of shape {weight.shape} is no multiple of 4")
    moved = np.moveaxis(weight, axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, 4)
