"""Where solved weights wait until the model is written: in memory, or, of a large model, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from engines.engine import Array
from graphs.storage.saving import SINGLE_FILE_BYTES, weight_bytes


class SolvedWeights:
    """``keep`` is what ``sparsify`` stores weights with; those of a ``model`` that would not fit one file are mapped
    from files in ``folder``, which ``clear`` takes away once the model is written.
    """

    def __init__(self, model: ir.Model, folder: Path) -> None:
        self._folder, self._large, self._count = folder, weight_bytes(model) > SINGLE_FILE_BYTES, 0

    def keep(self, array: Array) -> Array:
        """The same values, mapped where they lie in a file."""
        if not self._large:
            return array
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{self._count}.npy"
        self._count += 1
        np.save(path, array)
        kept: Array = np.load(path, mmap_mode="r")
        return kept

    def clear(self) -> None:
        for path in self._folder.glob("*.npy"):
            path.unlink()
        if self._folder.is_dir():
            self._folder.rmdir()
