"""The files an ONNX model is made of: finding its external data, digesting and placing it without loading weights."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from graphs.errors import BadInput


def external_files(model: Path) -> tuple[str, ...]:
    """Names, relative to the model's folder, of its external data files in a fixed order.

    Raises ``BadInput`` for a file that is no ONNX model, and for data that is missing or lies outside the folder.
    """
    if not model.is_file():
        raise BadInput("no such file", where=str(model))
    if not _mentions_external_data(model):
        return ()
    try:
        proto = onnx.load_model(str(model), load_external_data=False)
    except DecodeError as error:
        raise BadInput(f"not an ONNX model: {error}", where=str(model)) from None
    names = sorted({location for tensor in _tensors(proto) if (location := _location(tensor))})
    for name in names:
        _check_inside(model, name)
    return tuple(names)


def _mentions_external_data(model: Path) -> bool:
    """Whether the key that every external tensor carries is in the file: spares parsing gigabytes of weights."""
    with model.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"location") >= 0


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graph_tensors(graph)


def _location(tensor: onnx.TensorProto) -> str:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return ""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _check_inside(model: Path, name: str) -> None:
    folder = model.resolve().parent
    path = model.parent / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder):
        raise BadInput(
            f"external data {name!r} lies outside the model's folder",
            where=str(model),
            expected="a relative path in it",
        )
    if not path.is_file():
        raise BadInput(f"external data {name!r} is missing", where=str(model), expected=f"a file {path}")


def model_digest(model: Path) -> str:
    """Hex SHA-256 over the model file and its external data, names and sizes included; streamed."""
    digest = hashlib.sha256()
    for name in ("", *external_files(model)):
        path = model.parent / name if name else model
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def model_bytes(model: Path) -> int:
    """Size of the model file and its external data."""
    return sum((model.parent / name if name else model).stat().st_size for name in ("", *external_files(model)))


def place_model(model: Path, destination: Path) -> tuple[str, ...]:
    """Put a model at ``destination`` with its external data next to it; returns the data files' names.

    The data keeps its relative names, because the model refers to them. Files are copied, not loaded; they
    are not hard-linked, because a later edit of the user's model in place would then change the engine too.
    """
    names = external_files(model)
    shutil.copyfile(model, destination)
    for name in names:
        data = destination.parent / name
        data.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / name, data)
    return names
