"""JSON, and writing that cannot leave a half-written file behind."""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from graphs.errors import BadInput
from graphs.staging import in_folder, staged_file

T = TypeVar("T")

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where nothing more can be stored."""

_DECODING = threading.Lock()
"""msgspec gathers what a dataclass holds when it first decodes one; two threads that do so at once crash it (parallel
builds that both come from the cache, 2026-11-26)."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write next to ``path``, then rename over it: a reader sees the old file or the new one, never a part."""
    with staged_file(path) as partial:
        partial.write_bytes(content)


def write_together(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write all of ``files``, by name, into ``folder``, which is made where it is not there; or nothing, and no folder.
    Raises ``BadInput`` where that cannot be.
    """
    try:
        with in_folder(folder), ExitStack() as all_written:
            for name, content in files.items():
                all_written.enter_context(staged_file(folder / name)).write_bytes(content)
    except OSError as error:
        raise unwritable(folder, error) from error
    return [folder / name for name in files]


def link_or_copy(source: Path, destination: Path) -> None:
    """One file under a second name, without its bytes twice where the file system can; raises ``FileNotFoundError``.

    For files that are never changed in place. Not for a model's external data: onnx and ``inspect`` refuse data with
    several hard links, under the old name as well as the new.
    """
    try:
        os.link(source, destination)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, destination)


def at_fault(error: OSError, otherwise: Path) -> Path:
    """The file that ``error`` is about; ``otherwise`` where it names none. Of a copy that finds no space, the copy."""
    named = (error.filename2 if error.errno in NO_SPACE else None) or error.filename
    return Path(named) if isinstance(named, str) else otherwise


def unwritable(path: Path, error: OSError, elsewhere: str = "choose another folder with -o") -> BadInput:
    """The one message for a folder that cannot be written and for a full disk; ``elsewhere`` is the way round it."""
    if error.errno in NO_SPACE:
        return BadInput("no space left on the disk", where=str(path), fix=f"free some space or {elsewhere}")
    return BadInput(f"cannot be written or read: {error.strerror or error}", where=str(path), fix=elsewhere)


def _encode_numpy(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def to_json(value: Any) -> bytes:
    """Indented JSON of dataclasses, enums, paths and numpy scalars; NaN and infinities become null."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_encode_numpy), indent=1) + b"\n"


def write_record(path: Path, value: Any) -> None:
    """JSON for ``read_record``: as ``write_json``, but NaN and infinities are kept (as text), and paths beside ``path``
    are written relative to it, so that the folder can be moved.
    """
    encode = partial(_encode_within, path.parent)
    write_atomically(path, msgspec.json.encode(_spelled(msgspec.to_builtins(value, enc_hook=encode))))


def _encode_within(folder: Path, value: Any) -> Any:
    if isinstance(value, Path) and value.is_relative_to(folder):
        return str(value.relative_to(folder))
    return _encode_numpy(value)


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_record(path: Path, kind: type[T]) -> T:
    """What ``write_record`` wrote. Raises ``BadInput`` naming the file and the field that does not fit."""
    return _read(path, kind, strict=False, folder=path.parent)


def _decode_path(folder: Path, kind: type[Any], value: Any) -> Any:
    if issubclass(kind, Path):
        return folder / value
    raise NotImplementedError(f"{kind.__name__} has no JSON form")


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, to_json(value))


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file into ``kind``. Raises ``BadInput`` naming the file and the field that does not fit."""
    return _read(path, kind, strict=True)


def _read(path: Path, kind: type[T], *, strict: bool, folder: Path = Path()) -> T:
    try:
        content = path.read_bytes()
        with _DECODING:
            return msgspec.json.decode(content, type=kind, dec_hook=partial(_decode_path, folder), strict=strict)
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"not a valid {getattr(kind, '__name__', kind)}: {error}", where=str(path)) from None
