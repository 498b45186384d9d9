"""A model as one protobuf message, written piece by piece: the same bytes as serialized at once, for which memory would
hold the weights twice more.

Fields of a message lie one after the other, by their number, and those that are repeated in their order (protobuf.dev,
"Encoding"). So large weights are left out of what protobuf serializes, and put where they belong as they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import onnx
import onnx_ir as ir

LARGE = 1 << 16
"""Bytes of a weight from which it is left out. Chosen."""
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Numbers of the fields in ModelProto, GraphProto and TensorProto (onnx.proto3)."""
_BYTES = 2  # the wire type of what comes with its length


def write_message(model: ir.Model, file: BinaryIO) -> None:
    """Write ``model``, whose weights must all be in memory or mapped; it is left as it was."""
    initializers = model.graph.initializers
    held = {name: value.const_value for name, value in initializers.items()}
    large = {
        name: tensor
        for name, tensor in held.items()
        if tensor is not None and tensor.nbytes >= LARGE and tensor.dtype is not ir.DataType.STRING
    }
    try:
        for name, tensor in large.items():
            initializers[name].const_value = _described(name, tensor)
        proto = ir.to_proto(model)
    finally:
        for name, tensor in large.items():
            initializers[name].const_value = tensor
    before, after = _around(proto, _GRAPH)
    pieces = list(_graph(proto.graph, large))
    size = sum(piece.nbytes if isinstance(piece, ir.TensorProtocol) else len(piece) for piece in pieces)
    file.write(before + _key(_GRAPH, size))
    for piece in pieces:
        file.write(_values(piece) if isinstance(piece, ir.TensorProtocol) else piece)
    file.write(after)


def _described(name: str, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
    """All of ``tensor`` but its values."""
    shape, doc = ir.Shape(tensor.shape.numpy()), tensor.doc_string
    metadata = dict(tensor.metadata_props)
    return ir.ExternalTensor(
        "-", 0, tensor.nbytes, tensor.dtype, shape=shape, name=name, doc_string=doc, metadata_props=metadata
    )


def _graph(graph: onnx.GraphProto, large: Mapping[str, ir.TensorProtocol]) -> Iterator[bytes | ir.TensorProtocol]:
    """What the graph's message is made of, tensors for their values."""
    before, after = _around(graph, _INITIALIZER)
    yield before
    for tensor in graph.initializer:
        weight = large.get(tensor.name)
        if weight is None:
            yield _key(_INITIALIZER, tensor.ByteSize()) + tensor.SerializeToString()
            continue
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        first, last = _around(tensor, _RAW_DATA)
        data = _key(_RAW_DATA, weight.nbytes)
        yield _key(_INITIALIZER, len(first) + len(data) + weight.nbytes + len(last)) + first + data
        yield weight
        yield last
    yield after


def _values(tensor: ir.TensorProtocol) -> bytes:
    data = tensor.tobytes()
    if len(data) != tensor.nbytes:  # the message would not be read again
        raise ValueError(f"{tensor.name!r} is of {len(data)} bytes and says {tensor.nbytes}")
    return data


def _around(message: Any, number: int) -> tuple[bytes, bytes]:
    """The fields of ``message`` before the one of this number, and those after it."""
    parts = []
    for after in (False, True):
        part = type(message)()
        for field, value in message.ListFields():
            if field.number == number or (field.number > number) != after:
                continue
            if hasattr(value, "extend"):
                getattr(part, field.name).extend(value)
            elif field.message_type is not None:
                getattr(part, field.name).CopyFrom(value)
            else:
                setattr(part, field.name, value)
        parts.append(part.SerializeToString())
    return parts[0], parts[1]


def _key(number: int, size: int) -> bytes:
    """What stands before a field of ``size`` bytes: number and wire type, and the size."""
    return _varint(number << 3 | _BYTES) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the eighth set in all but the last."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))
