"""External data: every tensor stored beside the model file is found, contained and whole before anything reads it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import onnx
import onnx_ir as ir

from graphs.errors import BadInput
from graphs.operators import is_standard
from graphs.walk import graphs_of, nodes_of

SMALL_BYTES = 4096
"""Most bytes of a tensor that may be a shape or a scalar, which inference has to see. Chosen."""


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


def mapped_weights(model: ir.Model) -> Iterator[tuple[ir.Value, ir.ExternalTensor]]:
    """The initializers, subgraphs' included, that lie in files and are mapped when read."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value, value.const_value


def settle_constants(model: ir.Model) -> None:
    """Constants that lie in files become initializers, and stay mapped; other tensor attributes are read.

    Only initializers are looked for beside a model that is saved elsewhere, or checked in memory.
    """
    for graph in model.graphs():
        for node in list(graph):
            stored = [a for a in node.attributes.values() if isinstance(a.value, ir.ExternalTensor)]
            if stored and node.op_type == "Constant" and is_standard(node) and not node.outputs[0].is_graph_output():
                _as_initializer(node, stored[0].value)
                continue
            for attribute in stored:
                tensor = attribute.as_tensor()
                read = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, read)


def _as_initializer(constant: ir.Node, stored: ir.ExternalTensor) -> None:
    output, graph = constant.outputs[0], constant.graph
    assert isinstance(graph, ir.Graph) and output.name is not None
    tensor = ir.ExternalTensor(  # of its own name: a function called twice has one tensor in two constants
        stored.location, stored.offset, stored.length, stored.dtype, shape=ir.Shape(stored.shape.numpy()),
        name=output.name, base_dir=stored.base_dir,
    )  # fmt: skip
    value = ir.Value(name=output.name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
    output.replace_all_uses_with(value)
    graph.remove(constant, safe=True)
    graph.register_initializer(value)


def load_small(model: ir.Model) -> None:
    """Read initializers of up to ``SMALL_BYTES`` into memory."""
    for value, tensor in mapped_weights(model):
        if tensor.nbytes <= SMALL_BYTES:
            value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=value.name)
            tensor.release()


def release_weights(model: ir.Model) -> None:
    """Unmap weights that lie in files; they are mapped again when next read. Resident memory falls by their size."""
    for _, tensor in mapped_weights(model):
        with suppress(BufferError):  # an array of it is in use somewhere
            tensor.release()
