"""Write a model: one file when it is small, else the graph and one external data file, streamed tensor by tensor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir

from graphs.files import unwritable
from graphs.staging import staged_file
from graphs.storage.external_data import external_data
from graphs.storage.mapped_weights import mapped_weights, release_weights
from graphs.storage.message import write_message

SINGLE_FILE_BYTES = 256_000_000
"""Protobuf ends at 2 GiB and serializing holds a model twice; beyond this, weights are streamed to a file beside it.
Chosen."""


ONE_AT_A_TIME = threading.Lock()
"""References to the new file are put in the place of the weights while a graph is written."""


def save_model(model: ir.Model, path: Path, *, single_file_bytes: int = SINGLE_FILE_BYTES) -> list[Path]:
    """Write ``model`` to ``path``, its weights to ``<name>.data`` beside it when they exceed ``single_file_bytes``.

    Returns the files written. Both appear under their names only when complete, and nothing is left behind on failure.
    Lazy and mapped tensors are read one at a time. Raises ``BadInput`` for a path that cannot be written and for a
    full disk.
    """
    path = Path(path)
    data = path.with_name(f"{path.name}.data")
    with writing(path), staged_file(path) as partial:
        if weight_bytes(model) <= single_file_bytes:
            with ONE_AT_A_TIME:
                copy = _in_memory(model)
            with partial.open("wb") as file:
                write_message(copy, file)
            return [path]
        with ONE_AT_A_TIME, staged_file(data) as partial_data:  # in place before the model that names it
            ir.save(model, partial, format="protobuf", external_data=partial_data.name)
            release_weights(model)
            _rename_location(partial, data.name)
    return [path, data]


def serialized(model: ir.Model) -> bytes:
    """The model as one message, external weights included: for models that protobuf can hold (``weight_bytes``)."""
    with ONE_AT_A_TIME:
        copy = _in_memory(model)
    data: bytes = ir.to_proto(copy).SerializeToString()
    return data


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, subgraphs included."""
    values = (value for graph in model.graphs() for value in graph.initializers.values())
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)


def _in_memory(model: ir.Model) -> ir.Model:
    """A shallow copy whose external tensors are read when the file is written, so that the file stands alone."""
    copy = model.clone()
    for value, tensor in mapped_weights(copy):
        value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
    return copy


def _rename_location(path: Path, location: str) -> None:
    """Point every external tensor at the final name of the data file."""
    proto = onnx.load(path, format="protobuf", load_external_data=False)
    for data in external_data(proto):
        for entry in data.tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())


@contextmanager
def writing(path: Path, elsewhere: str = "choose another folder with -o") -> Iterator[None]:
    """Turn a full disk, and whatever else keeps a model from being written, into ``BadInput`` naming ``path``."""
    try:
        yield
    except (OSError, ir.serde.SerdeError) as error:
        cause = _os_error(error)
        if cause is None:
            raise
        raise unwritable(path, cause, elsewhere) from error


def _os_error(error: BaseException | None) -> OSError | None:
    """The operating system's error behind a serialization error: reading a mapped weight can fail as well."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
