"""Digests: SHA-256 in hex, over files, over texts and bytes, over samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphs.per_file import per_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 20
"""Bytes read at once. Chosen."""


def sha256(content: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


@per_file
def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, streamed; one that has not changed since is not read again."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_BLOCK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(parts: Iterable[str | bytes]) -> str:
    """Hex SHA-256 over ``parts`` in order, each with its length: no two sequences of parts run together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def sample_parts(sample: Mapping[str, NDArray[Any]]) -> Iterator[str | bytes]:
    """What tells one sample from another, for ``digest_of``: its arrays by name, with dtype and shape."""
    import numpy as np  # not for those who want a file's digest: the settings do, and the help with them

    for name in sorted(sample):
        array = np.asarray(sample[name])
        yield f"{name} {array.dtype} {array.shape}"
        yield repr(array.tolist()) if array.dtype.hasobject else array.tobytes()
