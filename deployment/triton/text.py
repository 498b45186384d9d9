"""Text in arrays: numpy has several kinds of it, Triton's Python backend takes and gives ``bytes`` of any length."""

from __future__ import annotations

import numpy as np

from engines.engine import Array

_KINDS = "OSU"
"""numpy's kinds of text: objects, bytes and characters of a fixed length."""


def is_text(array: Array) -> bool:
    return array.dtype.kind in _KINDS


def as_bytes(array: Array) -> Array:
    """``array`` as an array of ``bytes``, text in UTF-8; one of numbers as it is."""
    if not is_text(array):
        return array
    items = [item.encode() if isinstance(item, str) else bytes(item) for item in array.ravel().tolist()]
    encoded = np.empty(len(items), object)
    encoded[:] = items
    return encoded.reshape(array.shape)
