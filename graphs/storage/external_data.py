"""External data: every tensor stored beside the model file is found, contained and whole before anything reads it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import onnx

from graphs.errors import BadInput
from graphs.reading.walk import graphs_of, nodes_of


@dataclass(frozen=True)
class ExternalData:
    """Where a tensor's bytes lie: a file named relative to the model's folder, and a range in it (``length`` in bytes,
    None for as many as the tensor has)."""

    tensor: onnx.TensorProto
    location: str
    offset: int
    length: int | None


def external_data(proto: onnx.ModelProto) -> Iterator[ExternalData]:
    """Of every tensor stored outside: initializers and attributes, dense and sparse, in subgraphs and functions too."""
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            length = _number(entries["length"]) if "length" in entries else None
            yield ExternalData(tensor, entries.get("location", ""), _number(entries.get("offset", "0")), length)


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in graphs_of(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes_of(proto):
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            stored = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in (*stored, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1  # refused as no place in a file


def check_external_data(proto: onnx.ModelProto, model: Path) -> None:
    """Raise ``BadInput`` naming tensor and file when external data of the file ``model`` escapes its folder, is missing
    or does not hold the tensor."""
    sizes: dict[str, int] = {}
    for data in external_data(proto):
        if data.location not in sizes:
            sizes[data.location] = _size_of_contained_file(data, model)
        _check_extent(data, sizes[data.location], str(model))


def _size_of_contained_file(data: ExternalData, model: Path) -> int:
    """Size in bytes of the tensor's file. The rules are those of the ONNX specification and of onnx 1.16+: relative,
    no ``..``, and neither a symbolic nor a hard link may lead out of the model's folder."""
    where, location = str(model), data.location
    what = f"external data of tensor {data.tensor.name!r} points to {location!r}"
    expected = "a file in the model's own folder"
    if not location or "\0" in location:
        raise BadInput(f"external data of tensor {data.tensor.name!r} has no usable location", where=where)
    foreign = PureWindowsPath(location)
    if Path(location).is_absolute() or foreign.is_absolute() or foreign.drive or ".." in foreign.parts:
        raise BadInput(f"{what}, outside the model's folder", where=where, expected=expected)
    base = os.path.realpath(model.parent)
    real = Path(os.path.realpath(Path(base) / location))
    if not real.is_relative_to(base):
        fix = "copy the linked file next to the model (cp -L)"
        raise BadInput(f"{what}, a link out of the model's folder", where=where, expected=expected, fix=fix)
    if not real.is_file():
        fix = f"put {location} next to the model"
        raise BadInput(f"{what}, which does not exist", where=where, expected=expected, fix=fix)
    status = real.stat()
    if status.st_nlink > 1:
        fix = "make it a file of its own (cp)"
        raise BadInput(f"{what}, which has several hard links", where=where, expected=expected, fix=fix)
    return status.st_size


def _check_extent(data: ExternalData, size: int, where: str) -> None:
    shape = list(data.tensor.dims)
    place = f"tensor {data.tensor.name!r} in external data {data.location!r}"
    import onnx_ir as ir  # half a second, which only models with such data are worth: every engine's files pass here

    try:
        kind = ir.DataType(data.tensor.data_type)
        needed = math.ceil(math.prod(shape) * kind.bitwidth / 8)
    except (ValueError, TypeError):  # a number that names no type, strings
        raise BadInput(f"{place} has no numeric type", where=where, expected="one of TensorProto.DataType") from None
    length = needed if data.length is None else data.length
    if data.offset < 0 or length != needed:
        raise BadInput(
            f"{place} has offset {data.offset} and length {length}",
            where=where,
            expected=f"{needed} bytes for {kind.name}{shape}",
        )
    if data.offset + length > size:
        raise BadInput(
            f"{place} ends at byte {data.offset + length}, but the file has {size} bytes",
            where=where,
            expected="the whole file",
            fix="download or copy the data file again",
        )
