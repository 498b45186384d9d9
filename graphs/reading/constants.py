"""Reading constants, and who reads a value."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Input ``index`` of ``node``; None where it is left out, at the end or by an empty name."""
    return node.inputs[index] if len(node.inputs) > index else None


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a constant value (initializer or Constant output); None where a feed may change it."""
    if value is None or value.is_graph_input():
        return None
    return ir.convenience.get_const_tensor(value)


def constant_array(value: ir.Value | None) -> Array | None:
    """The constant behind ``value`` as an array. Reads it: call only where the weight itself is needed."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The node that uses ``value`` when nothing else does, not even the graph's outputs."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses))[0]


def along(numbers: Array, axis: int | None, rank: int) -> Array:
    """``numbers`` so that they broadcast with a tensor of ``rank``: one for all of it, or one for each slice along
    ``axis``.
    """
    shape = [1] * rank
    if axis is not None and numbers.size > 1:
        shape[axis % rank] = -1  # some leave the usual axis 1 at what has one axis
    return numbers.reshape(shape)
