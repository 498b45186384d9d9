"""Concrete shapes: what every tensor of a model measures once its inputs have fixed sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.library_logs import quiet
from graphs.reading.containers import forget_containers
from graphs.reading.folding import fold
from graphs.reading.operators import is_standard

_UNKNOWN_DIMENSION = 128
"""What a dimension counts as where memory is estimated and it is not known; chosen."""
_UNKNOWN_BYTES = 24 << 20
"""And a tensor of which not even the rank is known; chosen."""


def with_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> ir.Model:
    """A copy of ``model`` (weights shared) with input shapes fixed and every shape inferred from them.

    ``shapes`` maps input names to sizes; a symbol seen there has the same size in inputs left out, any other dynamic
    dimension becomes 1. Shape arithmetic (Shape, Gather, Concat, Range) is evaluated, so Reshape, Expand and Resize get
    concrete shapes as well. Nodes that compute on data keep their names.
    """
    copy = model.clone()
    symbols = _symbol_sizes(copy, shapes)
    for value in copy.graph.inputs:
        if value.shape is not None:
            given = shapes.get(str(value.name))
            sizes = given if given is not None else [_size(dim, symbols) for dim in value.shape]
            value.shape = ir.Shape([int(size) for size in sizes])
    for node in copy.graph.all_nodes():
        for output in node.outputs:
            output.shape = None
    infer_shapes(copy)
    if _enter_bodies(copy.graph):
        infer_shapes(copy)
        _leave_loops(copy.graph)
        infer_shapes(copy)
    for _ in range(2):  # what the first round makes constant tells the second the shapes behind it
        if _settled(copy):
            break
        fold(copy, input_limit=1 << 14, output_limit=1 << 16)
        infer_shapes(copy)
    return copy


def _enter_bodies(graph: ir.Graph) -> bool:
    """Give the inputs of Loop and Scan bodies the shapes of what is handed in; whether there are any. A state is taken
    to keep the shape it begins with.
    """
    entered = False
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH and is_standard(node) and node.op_type in ("Loop", "Scan"):
                entered = True
                for value, handed, axis in _handed_in(node, attribute.as_graph()):
                    shape = static_shape(handed)
                    if shape is not None and static_shape(value) is None:
                        value.shape = ir.Shape(
                            [s for i, s in enumerate(shape) if axis is None or i != axis % len(shape)]
                        )
    return entered


def _leave_loops(graph: ir.Graph) -> None:
    """Give the last states of Loops their shape, which inference leaves open, where a step does not change it."""
    for node in graph:
        if node.op_type != "Loop" or not is_standard(node):
            continue
        body = node.attributes["body"].as_graph()
        for before, after, last in zip(body.inputs[2:], body.outputs[1:], node.outputs, strict=False):
            shape = static_shape(after)
            if shape is not None and shape == static_shape(before):
                last.shape = ir.Shape(shape)


def _handed_in(node: ir.Node, body: ir.Graph) -> list[tuple[ir.Value, ir.Value | None, int | None]]:
    """The inputs of ``body``, the value each gets, and the axis of which it gets one slice at a time."""
    if node.op_type == "Loop":
        pairs = zip(body.inputs[2:], node.inputs[2:], strict=False)
        return [(value, handed, None) for value, handed in pairs]
    scanned = node.attributes.get_int("num_scan_inputs", 0)
    axes = [*node.attributes.get_ints("scan_input_axes", [0] * scanned)]
    states: list[int | None] = [None] * (len(node.inputs) - scanned)
    return list(zip(body.inputs, node.inputs, [*states, *axes], strict=False))


def _settled(model: ir.Model) -> bool:
    """Whether every shape is known and nothing is left that computes one."""
    nodes = list(model.graph.all_nodes())
    if any(node.op_type in ("Shape", "Size") for node in nodes):
        return False
    return all(static_shape(value) is not None for node in nodes for value in node.outputs if value.name)


def infer_shapes(model: ir.Model) -> None:
    """Infer types and shapes, in place; what is not known stays so."""
    with quiet():
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    forget_containers(model)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a value when every dimension is known."""
    if value is None:
        return None
    shape = value.shape if value.shape is not None else getattr(value.const_value, "shape", None)
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return tuple(dim for dim in shape if isinstance(dim, int))


def _symbol_sizes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    symbols: dict[str, int] = {}
    for value in model.graph.inputs:
        for dim, size in zip(value.shape or (), shapes.get(str(value.name), ()), strict=False):
            if isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                symbols[str(dim.value)] = int(size)
    return symbols


def _size(dim: int | ir.SymbolicDim, symbols: Mapping[str, int]) -> int:
    return dim if isinstance(dim, int) else symbols.get(str(dim.value), 1)


def activation_bytes(model: ir.Model) -> int:
    """About what all activations of the main graph take together for one sample, none in another's place."""
    return sum(nominal_bytes(value) for node in model.graph for value in node.outputs)


def nominal_bytes(value: ir.Value) -> int:
    """About what one sample's ``value`` takes, as float32: a first axis of unknown length counts one, others 128; one
    without a shape 24 MiB.
    """
    if value.shape is None:
        return _UNKNOWN_BYTES
    known = [
        d if isinstance(d, int) else (1 if axis == 0 else _UNKNOWN_DIMENSION) for axis, d in enumerate(value.shape)
    ]
    return 4 * math.prod(known)
