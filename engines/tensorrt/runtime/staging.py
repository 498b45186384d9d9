"""Filling pinned memory with an input, a large one in pieces, each of which can be on its way to the GPU while the next
are filled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.cuda.runtime import Bytes
from engines.engine import Array
from engines.pieces import Pieces


def stage(buffer: Bytes, value: Array, pieces: Pieces, filled: Callable[[slice], None]) -> None:
    """Write ``value``, of any strides, row-major into ``buffer``, of as many bytes.

    ``filled`` is called, in this thread, with each part of ``buffer`` once it is complete, in any order; together they
    are all of it. Nothing is written any more when this returns or raises.
    """
    rows = value.reshape(-1) if value.flags.c_contiguous else value.squeeze()  # axis 0 is cut
    target = buffer.view(value.dtype).reshape(rows.shape)
    row_bytes = value.nbytes // max(len(rows), 1)

    def write(part: slice) -> None:
        np.copyto(target[part], rows[part])

    def written(part: slice) -> None:
        filled(slice(part.start * row_bytes, part.stop * row_bytes))

    pieces.fill(len(rows), row_bytes, write, written)
