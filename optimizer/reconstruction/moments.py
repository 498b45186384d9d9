"""What a layer's inputs say of its weight: second moments of the rows it multiplies, float and as they will be.

For rows ``X`` of the float model and the rows ``X̂`` that the changed model will see in their place, the best weight
minimises ``‖X·W − X̂·Ŵ − 1·δ‖²``, a ridge regression in closed form. ``δ`` is the bias correction of Nagel et al. 2019,
in closed form too: an error that is the same everywhere does not average out in a pooling layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphs.reading.number_types import Floats

RIDGE, _RIDGE_OF_FEW = 0.01, 10
"""Added to the Hessian's diagonal, relative to its mean: GPTQ's damping (Frantar et al. 2023); and how many times as
much, in proportion, where rows are few for the reduction (chosen)."""


def mean_of_rows(rows: Floats) -> Floats:
    """Of each group, rows [groups, rows, reduction]: [groups, reduction]. As a product it takes half the time that
    numpy's mean does, of depthwise convolutions (400 groups of 256 rows of 9) a seventh.
    """
    each = np.full((1, rows.shape[1]), 1 / max(rows.shape[1], 1), np.float32)
    mean: Floats = (each @ rows)[:, 0]
    return mean


@dataclass(frozen=True)
class Means:
    """Means of each group's rows, float and as they will be: [groups, reduction]."""

    plain: Floats
    noisy: Floats

    @classmethod
    def of(cls, plain: Floats, noisy: Floats) -> Means:
        """Of rows [groups, rows, reduction]."""
        return cls(mean_of_rows(plain), mean_of_rows(noisy))

    def bias(self, weight: Floats, changed: Floats) -> Floats:
        """What takes the mean error of ``changed`` away, both [groups, outputs, reduction]: [groups, outputs]."""
        bias: Floats = (weight @ self.plain[..., None] - changed @ self.noisy[..., None])[..., 0]
        return bias


@dataclass(frozen=True)
class Moments:
    """Second moments of each group's rows: ``hessian`` = X̂ᵀX̂ + λI, ``cross`` = X̂ᵀX + λI, [groups, reduction,
    reduction].
    """

    hessian: Floats
    cross: Floats

    @classmethod
    def of(cls, plain: Floats, noisy: Floats, means: Means | None) -> Moments:
        """Of rows [groups, rows, reduction], about their ``means`` where a bias takes those away."""
        rows = noisy.shape[1]
        if means is not None:
            plain, noisy = plain - means.plain[:, None], noisy - means.noisy[:, None]
        transposed = np.ascontiguousarray(noisy.swapaxes(1, 2))
        hessian, cross = transposed @ noisy, transposed @ plain
        hessian /= rows
        cross /= rows
        return cls(hessian, cross).damped(rows)

    def damped(self, rows: int) -> Moments:
        """With ``RIDGE`` added, in place, as fits moments of so many rows."""
        size = self.hessian.shape[1]
        diagonal = np.arange(size)
        trace = self.hessian[:, diagonal, diagonal].sum(axis=1, keepdims=True)
        ridge = trace / size * max(RIDGE, size / rows * RIDGE * _RIDGE_OF_FEW) + 1e-12
        self.hessian[:, diagonal, diagonal] += ridge
        self.cross[:, diagonal, diagonal] += ridge
        return self

    def compensated(self, weight: Floats) -> Floats:
        """The float weight [groups, outputs, reduction] that does best on the rows as they will be."""
        solution = np.linalg.solve(self.hessian, self.cross @ weight.swapaxes(1, 2))
        return np.ascontiguousarray(solution.swapaxes(1, 2), np.float32)


_MAY_OVERFLOW = np.errstate(over="ignore", invalid="ignore")
"""Of huge inputs: whoever takes the moments looks whether they are numbers."""


class MomentSums:
    """Moments of one matrix product's rows, [rows, reduction], added up as they come: memory does not grow with rows.

    Rows are taken about the mean of the first ones, so that little is lost where means are large beside variances.
    """

    def __init__(self, reduction: int) -> None:
        self.rows = 0
        self._about: Means | None = None
        self._sums = np.zeros((2, reduction), np.float64)
        self._hessian, self._cross = np.zeros((2, reduction, reduction), np.float32)

    @_MAY_OVERFLOW
    def add(self, plain: Floats, noisy: Floats) -> None:
        """Rows of the float model, and those in their place."""
        if not len(plain):
            return
        if self._about is None:
            self._about = Means(plain.mean(axis=0), noisy.mean(axis=0))
        plain, noisy = plain - self._about.plain, noisy - self._about.noisy
        self.rows += len(plain)
        self._sums += plain.sum(axis=0), noisy.sum(axis=0)
        self._hessian += noisy.T @ noisy
        self._cross += noisy.T @ plain

    @_MAY_OVERFLOW
    def taken(self, centred: bool) -> tuple[Moments, Means]:
        """The damped moments, about their means where ``centred``, and the means; the sums are gone then."""
        assert self._about is not None
        plain, noisy = (self._sums / self.rows).astype(np.float32)
        means = Means((self._about.plain + plain)[None], (self._about.noisy + noisy)[None])
        hessian, cross = self._hessian, self._cross
        hessian /= self.rows
        cross /= self.rows
        hessian -= np.outer(noisy, noisy)
        cross -= np.outer(noisy, plain)
        if not centred:
            hessian += np.outer(means.noisy, means.noisy)
            cross += np.outer(means.noisy, means.plain)
        del self._hessian, self._cross
        return Moments(hessian[None], cross[None]).damped(self.rows), means
