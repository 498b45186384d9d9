"""What each sample says of a candidate beside FP32, kept while both answer: for bounds on the drop."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.confidence import DropBound, cosine_bound
from engines.engine import Array


class PairedSums:
    """Squares and products of every output by sample: reference^2, candidate^2, reference x candidate."""

    def __init__(self) -> None:
        self._sums: dict[str, list[Array]] = {}

    def add(self, name: str, reference: Array, candidate: Array, samples: int) -> None:
        """One feed's output of both, of so many ``samples``; one that cannot be cut into these is one piece."""
        if reference.shape != candidate.shape or reference.dtype.kind not in "fV":
            return
        rows = samples if reference.ndim and len(reference) == samples else 1
        before, after = (array.astype(np.float64).reshape(rows, -1) for array in (reference, candidate))
        usable = np.isfinite(before) & np.isfinite(after)
        before, after = np.where(usable, before, 0.0), np.where(usable, after, 0.0)
        pairs = (before, before), (after, after), (before, after)
        self._sums.setdefault(name, []).append(np.stack([np.einsum("ij,ij->i", *pair) for pair in pairs], axis=1))

    def bound(self, looks: int) -> DropBound | None:
        """Of the float output that may have lost most; None where there is none, or there are too few samples."""
        found = [cosine_bound(np.concatenate(sums), looks) for sums in self._sums.values()]
        if not found or any(bound is None for bound in found):
            return None
        return max((bound for bound in found if bound is not None), key=lambda bound: bound.upper)
