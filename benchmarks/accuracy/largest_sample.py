"""The sample that holds most of an output's signal: where its values are far larger, figures over all speak of it."""

from __future__ import annotations

import numpy as np

from engines.engine import Array


class LargestSample:
    """Squares of FP32's values, and of the errors: of the sample with the largest of the former, and of the others,
    which beside it would be lost in a sum.
    """

    def __init__(self) -> None:
        self._largest = self._others = np.zeros(2)
        self._samples, self._whole = 0, True

    def add(self, reference: Array, candidate: Array, samples: int) -> None:
        """One feed's output of both, of so many ``samples``. Where it cannot be cut into these, or is not finite,
        nothing is said of the output.
        """
        cut = samples == 1 or (reference.ndim > 0 and len(reference) == samples)
        if not cut or reference.shape != candidate.shape or reference.dtype.kind != "f" or not reference.size:
            self._whole = False
            return
        before, after = (array.reshape(samples, -1).astype(np.float64) for array in (reference, candidate))
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.stack([np.einsum("ij,ij->i", part, part) for part in (before, before - after)], axis=1)
        if not np.isfinite(sums).all():
            self._whole = False
            return
        seen = np.concatenate([self._largest[None], sums])
        largest = int(seen[:, 0].argmax())
        self._largest, self._others = seen[largest], self._others + np.delete(seen, largest, axis=0).sum(axis=0)
        self._samples += samples

    def others(self) -> tuple[float, float] | None:
        """Squares of values and errors of the other samples; None where there are none, or nothing is known."""
        if not self._whole or self._samples < 2:
            return None
        signal, noise = self._others
        return float(signal), float(noise)
