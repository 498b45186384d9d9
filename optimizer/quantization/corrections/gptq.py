"""Weights rounded so that the op's output, not the weight, comes out right.

For an op with float input rows ``X``, the same rows quantized ``X̂`` and weight ``W`` the best int8 weight solves
``min ‖X·W − X̂·Ŵ − 1·δ‖²``. Without rounding it is a ridge regression in closed form, which absorbs part of the
activations' quantization error; rounding then goes column by column, each error made good by the columns to come
(GPTQ, Frantar et al. 2023). ``δ`` is the bias correction of Nagel et al. 2019, in closed form too. It matters most: an
error that is the same everywhere does not average out in a pooling layer.

GPTQ spreads errors by the inverse Hessian. The same codes come from the Hessian's own Cholesky factor, from its last
column to its first (Babai's nearest plane; Chen et al. 2025, "The Geometry of LLM Quantization"): no inverse is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.quantization.weights import CODE_MAX, Codes, Floats

RIDGE = 0.01
"""Added to the Hessian's diagonal, relative to its mean: GPTQ's damping; ten times as much, in proportion, where rows
are few for the reduction."""
_RIDGE_OF_FEW = 10
_BLOCK = 128
"""Columns rounded before their errors are passed on to all others in one product."""


@dataclass(frozen=True)
class Means:
    """Means of each group's rows, float and quantized: [groups, reduction]."""

    plain: Floats
    noisy: Floats

    @classmethod
    def of(cls, plain: Floats, noisy: Floats) -> Means:
        """Of rows [groups, rows, reduction]."""
        return cls(plain.mean(axis=1), noisy.mean(axis=1))


@dataclass(frozen=True)
class RoundedWeight:
    """Codes [groups, outputs, reduction]; scale and bias correction [groups, outputs]."""

    codes: Codes
    scale: Floats
    bias: Floats

    def values(self) -> Floats:
        return self.codes * self.scale[..., None]

    def unbiased(self, weight: Floats, means: Means) -> RoundedWeight:
        """With the bias that takes the mean error of the output away; ``weight`` as it was."""
        bias = weight @ means.plain[..., None] - self.values() @ means.noisy[..., None]
        return replace(self, bias=bias[..., 0])

    def squared_error(self, wanted: Floats, noisy: Floats) -> float:
        """Beside the float outputs ``wanted`` [groups, rows, outputs] of the rows quantized to ``noisy``."""
        found = noisy @ self.values().swapaxes(1, 2)
        found += self.bias[:, None]
        found -= wanted
        return float(np.vdot(found, found))


def rounded_plainly(weight: Floats, scale: Floats, top: int) -> RoundedWeight:
    """The nearest codes of ``weight`` [groups, outputs, reduction]; ``scale`` [groups, outputs]."""
    codes = np.clip(np.rint(weight / scale[..., None]), -top, top).astype(np.int8)
    return RoundedWeight(codes, scale, np.zeros(scale.shape, np.float32))


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
        _, rows, size = noisy.shape
        if means is not None:
            plain, noisy = plain - means.plain[:, None], noisy - means.noisy[:, None]
        transposed = np.ascontiguousarray(noisy.swapaxes(1, 2))
        hessian, cross = transposed @ noisy, transposed @ plain
        hessian /= rows
        cross /= rows
        diagonal = np.arange(size)
        trace = hessian[:, diagonal, diagonal].sum(axis=1, keepdims=True)
        ridge = trace / size * max(RIDGE, size / rows * RIDGE * _RIDGE_OF_FEW) + 1e-12
        hessian[:, diagonal, diagonal] += ridge
        cross[:, diagonal, diagonal] += ridge
        return cls(hessian, cross)

    def compensated(self, weight: Floats) -> Floats:
        """The float weight that does best on quantized rows."""
        solution = np.linalg.solve(self.hessian, self.cross @ weight.swapaxes(1, 2))
        return np.ascontiguousarray(solution.swapaxes(1, 2), np.float32)


def gptq(
    weight: Floats, hessian: Floats, scale: Floats, kept: NDArray[np.bool_] | None = None, top: int = CODE_MAX
) -> Codes:
    """int8 codes of ``weight`` [groups, outputs, inputs] that keep ``tr(ΔW·H·ΔWᵀ)`` of each group small.

    ``hessian`` is [groups, inputs, inputs], ``scale`` [groups, outputs]. Codes are zero where ``kept`` is False, so
    that a pruned weight stays pruned (2:4 sparsity).

    Columns are rounded in order of falling curvature, each at the value that makes up for the errors before it.
    """
    order = np.argsort(np.diagonal(hessian, axis1=1, axis2=2), axis=1)  # the last is the first to be rounded
    down = order[:, :, None]
    wanted = np.take_along_axis(weight.swapaxes(1, 2), down, axis=1)  # [groups, inputs, outputs]: a column is a row
    mask = None if kept is None else np.take_along_axis(kept.swapaxes(1, 2), down, axis=1)
    factor = _unit_factor(np.take_along_axis(np.take_along_axis(hessian, down, axis=1), order[:, None], axis=2))
    target = wanted.copy()
    codes = np.empty(wanted.shape, np.int8)
    for end in range(wanted.shape[1], 0, -_BLOCK):
        start = max(end - _BLOCK, 0)
        errors = np.empty((len(wanted), end - start, wanted.shape[2]), np.float32)
        for column in range(end - 1, start - 1, -1):
            rounded = np.clip(np.rint(target[:, column] / scale), -top, top)
            if mask is not None:
                rounded *= mask[:, column]
            codes[:, column] = rounded
            error = wanted[:, column] - rounded * scale
            target[:, start:column] += factor[:, column, start:column, None] * error[:, None]
            errors[:, column - start] = error
        target[:, :start] += factor[:, start:end, :start].swapaxes(1, 2) @ errors
    restored = np.empty_like(codes)
    np.put_along_axis(restored, down, codes, axis=1)
    return np.ascontiguousarray(restored.swapaxes(1, 2))


def _unit_factor(hessian: Floats) -> Floats:
    """The lower Cholesky factor of each group, every column divided by its diagonal."""
    factor = np.linalg.cholesky(hessian.astype(np.float64))
    factor /= np.diagonal(factor, axis1=1, axis2=2)[:, None]
    return factor.astype(np.float32)
