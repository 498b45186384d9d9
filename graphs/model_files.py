"""The files an ONNX model is made of: finding, digesting and placing them without loading weights."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.external_data import check_external_data, external_data


def external_files(model: Path) -> tuple[str, ...]:
    """Names, relative to the model's folder, of its external data files in a fixed order.

    Raises ``BadInput`` for a file that is no ONNX model, and for data that ``check_external_data`` refuses.
    """
    if not model.is_file():
        raise BadInput("no such file", where=str(model))
    if not _mentions_external_data(model):
        return ()
    try:
        proto = onnx.load_model(str(model), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise BadInput(f"not an ONNX model: {error}", where=str(model)) from None
    check_external_data(proto, model)
    return data_files(proto)


def data_files(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the files that hold external data, sorted."""
    return tuple(sorted({data.location for data in external_data(proto)}))


def _mentions_external_data(model: Path) -> bool:
    """Whether the key that every external tensor carries is in the file: spares parsing gigabytes of weights."""
    with model.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"location") >= 0


def model_digest(model: Path) -> str:
    """The one digest of a model: the file's SHA-256 in hex, as ``sha256sum`` prints it.

    With external data, that of the digests of the file and of every data file, in the order of their names: the names
    themselves are in the file.
    """
    first, *others = (sha256_file(file) for file in _all_files(model))
    return hashlib.sha256(b"".join(map(bytes.fromhex, (first, *others)))).hexdigest() if others else first


def model_bytes(model: Path) -> int:
    """Size of the model file and its external data."""
    return sum(file.stat().st_size for file in _all_files(model))


def _all_files(model: Path) -> list[Path]:
    return [model, *(model.parent / name for name in external_files(model))]


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
