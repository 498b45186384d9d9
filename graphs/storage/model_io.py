"""The declared inputs and outputs of an ONNX file, read past its weights: a model of gigabytes costs a few pages.

Reads the protobuf wire format itself, because every reader of ``ModelProto`` loads the whole message.
Source: protobuf.dev, "Encoding"; field numbers from onnx.proto.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import onnx

_GRAPH, _INPUT, _OUTPUT = 7, 11, 12
"""Field numbers of ModelProto.graph, GraphProto.input and GraphProto.output."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""


def declared_types(model: Path) -> dict[str, str]:
    """Numpy dtype names (``"float64"``) of the graph's inputs and outputs; empty for a file that is no ONNX model."""
    with model.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return {}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return dict(_value_types(content))
            except (ValueError, IndexError, KeyError):  # not this format; whoever parses it says so
                return {}


def _value_types(content: mmap.mmap) -> Iterator[tuple[str, str]]:
    for number, start, end in _fields(content, 0, len(content)):
        if number != _GRAPH:
            continue
        for inner, first, last in _fields(content, start, end):
            if inner in (_INPUT, _OUTPUT):
                value = onnx.ValueInfoProto.FromString(content[first:last])
                if value.type.HasField("tensor_type"):
                    yield value.name, _dtype_name(value.type.tensor_type.elem_type)


def _dtype_name(kind: int) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind).name)


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, byte after the last) of every length-delimited field between two positions."""
    while start < end:
        key, start = _varint(content, start)
        kind = key & 7
        if kind == _BYTES:
            size, start = _varint(content, start)
            if start + size > end:
                raise ValueError("cut off")
            yield key >> 3, start, start + size
            start += size
        elif kind == _VARINT:
            _, start = _varint(content, start)
        elif kind in (_FIXED32, _FIXED64):
            start += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")


def _varint(content: mmap.mmap, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")
