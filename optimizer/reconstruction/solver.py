"""The one solver: weights rounded, pruned to 2:4, or both, each error made good by the weights still to come.

For a target ``W`` and the Hessian ``H = L·Lᵀ`` of a layer's rows, the squared error of the outputs is
``tr(ΔW·H·ΔWᵀ) = Σ_j L_jj²·(t_j − q_j)²``, where ``t_j`` is ``W_j`` moved by what later columns got wrong and ``q_j``
what column ``j`` becomes. So columns are settled from the last to the first, each at the value nearest to ``t_j``:

* *rounded* that is GPTQ (Frantar et al. 2023), without the inverse Hessian that it takes (Babai's nearest plane; Chen
  et al. 2025, "The Geometry of LLM Quantization");
* *pruned* it is SparseGPT (Frantar and Alistarh 2023), four columns at a time, with the best two of four in closed form
  (``fours``) where SparseGPT scores each weight alone; with rounding where codes are asked for.

What is settled early knows nothing of errors made late. ``swapped`` goes through the fours again, all others as they
are, and ``refined`` solves for all that is kept at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphs.reading.number_types import Floats
from optimizer.reconstruction.fours import Fours
from optimizer.reconstruction.grid import Grid

Mask = NDArray[np.bool_]
Columns = NDArray[np.intp]
_BLOCK = 128
"""Columns settled before their errors are passed on to all others in one product; a multiple of 4. Chosen."""
REFINEMENTS = 24
"""Steps of conjugate gradients at most; Hessians of layers are damped, and ten take most of what there is to gain.
Chosen."""
_ENOUGH = 1e-4
"""Relative size of the residual at which no step follows. Chosen."""
_TINY = np.float32(1e-30)  # what may be divided by


def solve(
    weight: Floats,
    hessian: Floats,
    *,
    grid: Grid | None = None,
    kept: Mask | None = None,
    fours: Columns | None = None,
) -> Floats:
    """``weight`` [groups, outputs, inputs] changed so that ``tr(ΔW·H·ΔWᵀ)`` of each group stays small.

    ``hessian`` is [groups, inputs, inputs]. With ``grid`` values are rounded to it; they are zero where ``kept`` is
    False. With ``fours`` [inputs / 4, 4], the inputs that stand together in the 2:4 pattern, the two of every four to
    keep are chosen in the solve. Columns are settled in order of falling curvature.
    """
    order = _order(hessian, fours)  # the last is the first to be settled
    group = np.arange(len(order))[:, None]
    wanted = weight.swapaxes(1, 2)[group, order]  # [groups, inputs, outputs]: a column is a row
    mask = None if kept is None else kept.swapaxes(1, 2)[group, order]
    factor, curvature = _unit_factor(_ordered(hessian, order))
    columns = _Columns(
        wanted,
        factor,
        mask,
        grid.ordered(order) if grid else None,
        None if fours is None else _Blocks.of(factor, curvature),
    )
    settled = columns.settle()
    restored = np.empty_like(settled)
    restored[group, order] = settled
    return np.ascontiguousarray(restored.swapaxes(1, 2))


def _order(hessian: Floats, fours: Columns | None) -> Columns:
    """Columns by curvature, [groups, inputs]; those of a four together."""
    curvature = np.diagonal(hessian, axis1=1, axis2=2)
    if fours is None:
        return np.argsort(curvature, axis=1)
    ordered: Columns = fours[np.argsort(curvature[:, fours].sum(axis=2), axis=1)].reshape(len(hessian), -1)
    return ordered


def _ordered(hessian: Floats, order: Columns) -> Floats:
    """Both axes of inputs in ``order``: of a few large groups whole rows first, which are copied in one go."""
    if len(hessian) > hessian.shape[1]:
        return hessian[np.arange(len(order))[:, None, None], order[:, :, None], order[:, None]]
    return np.stack([matrix[columns].take(columns, axis=1) for matrix, columns in zip(hessian, order, strict=True)])


def _unit_factor(hessian: Floats) -> tuple[Floats, Floats]:
    """The lower Cholesky factor of each group, every column divided by its diagonal; and the squared diagonal."""
    factor = np.linalg.cholesky(hessian.astype(np.float64))
    diagonal = np.diagonal(factor, axis1=1, axis2=2).copy()
    factor /= diagonal[:, None]
    return factor.astype(np.float32), np.square(diagonal).astype(np.float32)


@dataclass(frozen=True)
class _Blocks:
    """Every four of columns as one step: with ``B`` its block of the unit factor, errors ``t − W`` handed on to it move
    the values that would be best by ``B⁻ᵀ`` times them, and its Hessian is ``B·diag(L_jj²)·Bᵀ``.
    """

    fours: Fours
    back: Floats

    @classmethod
    def of(cls, factor: Floats, curvature: Floats) -> _Blocks:
        first = np.arange(0, factor.shape[1], 4)[:, None, None]
        inner = np.arange(4)
        block = factor[:, first + inner[:, None], first + inner].astype(np.float64)
        scale = curvature.reshape(len(factor), -1, 1, 4)
        back = np.linalg.inv(block).swapaxes(-1, -2).astype(np.float32)
        return cls(Fours.of(block * scale @ block.swapaxes(-1, -2)), back)


@dataclass(frozen=True)
class _Columns:
    """``wanted`` and ``mask`` [groups, inputs, outputs] in the order they are settled in, from the last to the first,
    and the unit ``factor`` [groups, inputs, inputs]. With ``blocks`` two of every four columns are chosen.
    """

    wanted: Floats
    factor: Floats
    mask: Mask | None
    grid: Grid | None
    blocks: _Blocks | None

    def settle(self) -> Floats:
        """What every column becomes."""
        target, settled = self.wanted.copy(), np.empty_like(self.wanted)
        step = 1 if self.blocks is None else 4
        for end in range(self.wanted.shape[1], 0, -_BLOCK):
            start = max(end - _BLOCK, 0)
            for first in range(end - step, start - 1, -step):
                now, before = slice(first, first + step), slice(start, first)
                settled[:, now] = self._value(target, first)
                errors = self.wanted[:, now] - settled[:, now]
                if step == 1:
                    target[:, before] += self.factor[:, first, before, None] * errors
                else:
                    target[:, before] += self.factor[:, now, before].swapaxes(1, 2) @ errors
            errors = self.wanted[:, start:end] - settled[:, start:end]
            target[:, :start] += self.factor[:, start:end, :start].swapaxes(1, 2) @ errors
        return settled

    def _value(self, target: Floats, first: int) -> Floats:
        """Of one column, or of four: [groups, 1 or 4, outputs]."""
        if self.blocks is not None:
            now, four = slice(first, first + 4), first // 4
            wanted = self.wanted[:, now] + self.blocks.back[:, four] @ (target[:, now] - self.wanted[:, now])
            return self.blocks.fours.settled(wanted, four, self.grid)
        value = target[:, first]
        value = value if self.grid is None else self.grid.column(first).nearest(value)
        return (value if self.mask is None else value * self.mask[:, first])[:, None]


def swapped(
    weight: Floats, hessian: Floats, found: Floats, fours: Columns, *, grid: Grid | None = None, sweeps: int = 1
) -> Floats:
    """``found`` after going through the fours ``sweeps`` times: each becomes the best there is for all others as they
    are. No sweep adds to the error but by rounding.
    """
    blocks = Fours.of(hessian[:, fours[:, :, None], fours[:, None, :]])
    inverse = np.linalg.inv(hessian[:, fours[:, :, None], fours[:, None, :]].astype(np.float64)).astype(np.float32)
    values = np.ascontiguousarray(found.swapaxes(1, 2))
    slope = np.ascontiguousarray(hessian @ (weight - found).swapaxes(1, 2))  # [groups, inputs, outputs]
    for _ in range(sweeps):
        for four, columns in enumerate(fours):
            now = values[:, columns]
            new = blocks.settled(now + inverse[:, four] @ slope[:, columns], four, grid)
            slope -= hessian[:, :, columns] @ (new - now)
            values[:, columns] = new
    return np.ascontiguousarray(values.swapaxes(1, 2))


def refined(weight: Floats, hessian: Floats, found: Floats, steps: int = REFINEMENTS) -> Floats:
    """``found`` with its non-zero values solved for at once: least ``tr(ΔW·H·ΔWᵀ)`` beside ``weight``.

    All are [groups, outputs, inputs]. Conjugate gradients with the diagonal as preconditioner, all rows at a time, each
    in its own support; a row that does not gain stays as it is.
    """
    mask = found != 0
    scale: Floats = (1 / np.diagonal(hessian, axis1=1, axis2=2)[:, None]).astype(np.float32)
    values = found.copy()
    residual: Floats = ((weight - values) @ hessian) * mask
    scaled: Floats = residual * scale
    direction = scaled
    power = _dots(residual, scaled)
    signal: Floats = np.ascontiguousarray(weight @ hessian, np.float32)
    enough = np.maximum(_ENOUGH**2 * _dots(signal, weight), _TINY)
    for _ in range(steps):
        if np.all(power <= enough):
            break
        moved = (direction @ hessian) * mask
        length = power / np.maximum(_dots(direction, moved), _TINY)
        values += length[..., None] * direction
        residual -= length[..., None] * moved
        scaled = residual * scale
        after = _dots(residual, scaled)
        direction = scaled + np.asarray(after / np.maximum(power, _TINY), np.float32)[..., None] * direction
        power = after
    better = error_of(weight, hessian, values) <= error_of(weight, hessian, found)
    values[~better] = found[~better]
    return values


def error_of(weight: Floats, hessian: Floats, found: Floats) -> Floats:
    """``Δw·H·Δwᵀ`` of every row: [groups, outputs]."""
    change: Floats = np.subtract(found, weight, dtype=np.float32)
    return _dots(np.matmul(change, hessian, dtype=np.float32), change)


def _dots(first: Floats, second: Floats) -> Floats:
    product: Floats = np.einsum("goi,goi->go", first, second)
    return product
