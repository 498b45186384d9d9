"""External data: every tensor stored beside the model file is found, contained and whole before anything reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import onnx_ir as ir

from graphs.errors import BadInput

SMALL_BYTES = 4096


def external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Every external tensor of the model: initializers and tensor attributes, subgraphs and functions included."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                    yield attribute.value


def external_files(model: ir.Model) -> list[Path]:
    """The files that hold external data, sorted by location."""
    paths = {str(tensor.location): Path(tensor.path) for tensor in external_tensors(model)}
    return [paths[location] for location in sorted(paths)]


def load_small(model: ir.Model) -> None:
    """Read tensors of up to 4 KiB into memory: they are shapes and scalars, which inference has to see."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= SMALL_BYTES:
                value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=value.name)
                tensor.release()


def check_external_data(model: ir.Model, where: str) -> None:
    """Raise ``BadInput`` naming tensor and file when external data escapes the model's folder, is missing or short."""
    sizes: dict[str, int] = {}
    for tensor in external_tensors(model):
        location = str(tensor.location)
        if location not in sizes:
            sizes[location] = _size_of_contained_file(tensor, where)
        _check_extent(tensor, sizes[location], where)


def _size_of_contained_file(tensor: ir.ExternalTensor, where: str) -> int:
    """Size in bytes of the tensor's file. The rules are those of the ONNX specification and of onnx 1.16+: relative,
    no ``..``, and neither a symbolic nor a hard link may lead out of the model's folder."""
    location = str(tensor.location)
    what = f"external data of tensor {tensor.name!r} points to {location!r}"
    expected = "a file in the model's own folder"
    if not location or "\0" in location:
        raise BadInput(f"external data of tensor {tensor.name!r} has no usable location", where=where)
    foreign = PureWindowsPath(location)
    if Path(location).is_absolute() or foreign.is_absolute() or foreign.drive or ".." in foreign.parts:
        raise BadInput(f"{what}, outside the model's folder", where=where, expected=expected)
    base = os.path.realpath(tensor.base_dir)
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


def _check_extent(tensor: ir.ExternalTensor, size: int, where: str) -> None:
    offset, needed = tensor.offset or 0, tensor.nbytes
    length = needed if tensor.length is None else tensor.length
    place = f"tensor {tensor.name!r} in external data {str(tensor.location)!r}"
    if offset < 0 or length != needed:
        raise BadInput(
            f"{place} has offset {offset} and length {length}",
            where=where,
            expected=f"{needed} bytes for {tensor.dtype.name}{list(tensor.shape.numpy())}",
        )
    if offset + length > size:
        raise BadInput(
            f"{place} ends at byte {offset + length}, but the file has {size} bytes",
            where=where,
            expected="the whole file",
            fix="download or copy the data file again",
        )
