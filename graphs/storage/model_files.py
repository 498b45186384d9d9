"""The files an ONNX model is made of: finding, digesting and placing them without loading weights."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from graphs.digests import sha256, sha256_file
from graphs.errors import BadInput
from graphs.per_file import per_file
from graphs.storage.external_data import check_external_data, external_data

MAX_FILE_BYTES = 2**31 - 1
"""Protobuf refuses messages of 2 GiB or more; larger models keep their weights in external data."""


def _meant(folder: Path) -> str:
    """The model in a folder that was named in its place; a bundle's is made already."""
    if (folder / "manifest.json").is_file():
        return "this is a bundle: optimize bench, explain, verify, compare, update … take it"
    models = sorted(folder.glob("*.onnx"))
    return f"name the file: {models[0]}" if len(models) == 1 else ""


def read_message(path: Path) -> onnx.ModelProto:
    """The file as it is, weights in files of their own left there.

    Raises ``BadInput`` for what cannot be read, is too large for protobuf, or is no protobuf message.
    """
    where = str(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=where, fix="check the path") from None
    if path.is_dir():
        raise BadInput("is a folder", where=where, expected="an .onnx file", fix=_meant(path))
    if size == 0:
        raise BadInput("the file is empty", where=where, expected="an ONNX model", fix="export or download it again")
    if size > MAX_FILE_BYTES:
        raise BadInput(
            f"the file has {size} bytes",
            where=where,
            expected="less than 2 GiB, the limit of protobuf",
            fix="save the model with external data: onnx.save(model, path, save_as_external_data=True)",
        )
    try:
        return onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise BadInput(
            f"not an ONNX file, or truncated ({error})",
            where=where,
            expected="a serialized onnx.ModelProto",
            fix="export or download the model again",
        ) from None
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=where) from None


def external_files(model: Path) -> tuple[str, ...]:
    """Names, relative to the model's folder, of its external data files in a fixed order.

    Raises ``BadInput`` for a file that is no ONNX model, and for data that ``check_external_data`` refuses.
    """
    if not model.is_file():
        raise BadInput("no such file", where=str(model))
    if not _mentions_external_data(model):
        return ()
    proto = read_message(model)
    check_external_data(proto, model)
    return data_files(proto)


def data_files(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the files that hold external data, sorted."""
    return tuple(sorted({data.location for data in external_data(proto)}))


@per_file
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
    return files_digest(_all_files(model))


def files_digest(files: Sequence[Path]) -> str:
    """The digest of a model, or of a plan, made of these files: the first one's own where it is alone."""
    first, *others = map(sha256_file, files)
    return sha256(b"".join(map(bytes.fromhex, (first, *others)))) if others else first


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
