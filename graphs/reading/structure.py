"""What of a graph does not change when its model is trained again: nodes, wiring, types and shapes, no float's value.

Written beside a bundle, it tells whether another model is the same graph with other weights
(``graphs.writing.known_names``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from graphs.digests import digest_of

_COUNTS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL, ir.DataType.STRING)
"""Element types of axes, shapes and indices. Their values belong to the structure, but for int32 that a
DequantizeLinear reads: the biases of a quantized model."""


@dataclass(frozen=True)
class Constant:
    """A weight: ``content`` is the digest of its values where they belong to the structure, empty where they do not."""

    dtype: str
    shape: tuple[int, ...]
    content: str = ""

    def __str__(self) -> str:
        return f"{self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True)
class Wired:
    """A node of the main graph; an input that is left out is ``""``. ``attributes`` is the digest of each by name."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, str]


@dataclass(frozen=True)
class Structure:
    """``inputs`` and ``outputs``: name -> element type and shape, in words."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    nodes: list[Wired]
    constants: dict[str, Constant]

    @staticmethod
    def of(model: ir.Model) -> Structure:
        """Of the main graph; bodies of control flow count as attributes of their nodes."""
        graph = model.graph
        constants = {str(n): _constant(v) for n, v in graph.initializers.items() if v.const_value is not None}
        return Structure(
            described_inputs(graph),
            {str(value.name): _described(value) for value in graph.outputs},
            [_wired(node) for node in graph],
            constants,
        )


def _wired(node: ir.Node) -> Wired:
    called = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return Wired(
        str(node.name),
        called,
        tuple(str(value.name) if value is not None else "" for value in node.inputs),
        tuple(str(output.name or "") for output in node.outputs),
        {name: digest_of(_attribute(attribute)) for name, attribute in sorted(node.attributes.items())},
    )


def _attribute(attribute: ir.Attr) -> Iterator[str]:
    """What an attribute holds; tensors as constants are told, so that floats in them may change."""
    kind, value = attribute.type, attribute.value
    if kind is ir.AttributeType.TENSOR:
        yield from _spelled(_content(value))
    elif kind is ir.AttributeType.TENSORS:
        for tensor in value:
            yield from _spelled(_content(tensor))
    elif kind is ir.AttributeType.GRAPH:
        yield from _body(value)
    elif kind is ir.AttributeType.GRAPHS:
        for graph in value:
            yield from _body(graph)
    else:
        yield repr(value)


def _body(graph: ir.Graph) -> Iterator[str]:
    """A body of control flow: matched by its names, too, for what is outside is read under them."""
    yield from (f"{value.name}: {_described(value)}" for value in (*graph.inputs, *graph.outputs))
    for name, value in graph.initializers.items():
        yield f"{name}: {value.const_value is not None and _constant(value)}"
    for node in graph:
        wired = _wired(node)
        yield from (wired.name, wired.op_type, repr(wired.inputs), repr(wired.outputs), repr(wired.attributes))


def _constant(value: ir.Value) -> Constant:
    assert value.const_value is not None
    uses = value.uses()
    weight = value.const_value.dtype is ir.DataType.INT32 and any(u.node.op_type == "DequantizeLinear" for u in uses)
    return _content(value.const_value, weight=weight)


def _content(tensor: ir.TensorProtocol, *, weight: bool = False) -> Constant:
    shape = tuple(int(size) for size in tensor.shape.numpy())
    told = tensor.dtype in _COUNTS and not weight
    content = digest_of((repr(tensor.numpy().tolist()),)) if told else ""
    return Constant(tensor.dtype.name.lower(), shape, content)


def _spelled(constant: Constant) -> Iterator[str]:
    yield str(constant)
    yield constant.content


def described_inputs(graph: ir.Graph) -> dict[str, str]:
    """Name -> element type and shape, in words (``Structure.inputs``), of what a caller feeds."""
    return {str(value.name): _described(value) for value in graph.inputs if value.name not in graph.initializers}


def _described(value: ir.Value) -> str:
    """``float32 Nx3x224x224``: axes that have no size by the letter N, for exporters name them as they like."""
    dtype = value.dtype.name.lower() if value.dtype is not None else "unknown"
    if value.shape is None:
        return f"{dtype} of any shape"
    sizes = "x".join(str(size) if isinstance(size, int) else "N" for size in value.shape)
    return f"{dtype} {sizes or 'scalar'}"
