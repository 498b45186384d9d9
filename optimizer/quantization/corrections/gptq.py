"""Weights rounded so that the op's output, not the weight, comes out right.

For an op with float input rows ``X``, the same rows quantized ``X̂`` and weight ``W`` the best int8 weight solves
``min ‖X·W − X̂·Ŵ − 1·δ‖²``. Without rounding it is a ridge regression in closed form, which absorbs part of the
activations' quantization error (``reconstruction.moments``); rounding then goes column by column, each error made good
by the columns to come (GPTQ, Frantar et al. 2023; ``reconstruction.solver``). The bias correction ``δ`` matters most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import INT8, Codes, Floats, NumberType
from optimizer.reconstruction.grid import Grid
from optimizer.reconstruction.moments import Means
from optimizer.reconstruction.solver import solve


@dataclass(frozen=True)
class RoundedWeight:
    """Codes [groups, outputs, reduction]; scale and bias correction [groups, outputs]."""

    codes: Codes
    scale: Floats
    bias: Floats

    def values(self) -> Floats:
        return self.codes.astype(np.float32) * self.scale[..., None]

    def unbiased(self, weight: Floats, means: Means) -> RoundedWeight:
        """With the bias that takes the mean error of the output away; ``weight`` as it was."""
        return replace(self, bias=means.bias(weight, self.values()))

    def squared_error(self, wanted: Floats, noisy: Floats) -> float:
        """Beside the float outputs ``wanted`` [groups, rows, outputs] of the rows quantized to ``noisy``."""
        found = noisy @ self.values().swapaxes(1, 2)
        found += self.bias[:, None]
        found -= wanted
        return float(np.vdot(found, found))


def rounded_plainly(weight: Floats, scale: Floats, numbers: NumberType) -> RoundedWeight:
    """The nearest codes of ``weight`` [groups, outputs, reduction]; ``scale`` [groups, outputs]."""
    codes = numbers.codes(weight / scale[..., None])
    return RoundedWeight(codes, scale, np.zeros(scale.shape, np.float32))


def gptq(
    weight: Floats,
    hessian: Floats,
    scale: Floats,
    kept: NDArray[np.bool_] | None = None,
    numbers: NumberType = INT8,
) -> Codes:
    """Codes of ``weight`` [groups, outputs, inputs] that keep ``tr(ΔW·H·ΔWᵀ)`` of each group small.

    ``hessian`` is [groups, inputs, inputs], ``scale`` [groups, outputs], or [groups, outputs, inputs] where scales go
    with blocks of inputs. Codes are zero where ``kept`` is False, so
    that a pruned weight stays pruned (2:4 sparsity).
    """
    found = solve(weight, hessian, grid=Grid(scale, numbers), kept=kept)
    return numbers.codes(found / (scale if scale.ndim == 3 else scale[..., None]))
