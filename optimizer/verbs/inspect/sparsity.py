"""``optimize inspect --sparsity``: which weights are 2:4, and which could be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from graphs.reading.two_four import two_four_products, weight_of
from optimizer.sparsity.eligible import GAINING_CHANNELS, SparseWeight, survey
from optimizer.sparsity.pattern import TWO_FOUR
from optimizer.sparsity.record import DENSE

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class WeightPattern:
    """The weight that ``node`` reads. ``pattern`` is ``2:4`` or ``dense``; ``zeros`` the share (0 to 1) of zeros, None
    where the weight is computed; ``eligible``: ``--sparsity 2:4`` would prune it, else ``reason`` says why not, and is
    empty where it is 2:4 already. ``likely_to_gain``: it is as large as TensorRT's maintainers advise.
    """

    node: str
    op_type: str
    shape: tuple[int, ...]
    pattern: str
    zeros: float | None
    eligible: bool
    likely_to_gain: bool
    reason: str = ""


def weight_patterns(model: ir.Model) -> list[WeightPattern]:
    """Of every product in the graph, in its order; weights behind Q/DQ count by their codes."""
    sparse = two_four_products(model)
    return [_pattern(node, found, sparse) for found in survey(model) for node in found.nodes]


def _pattern(node: ir.Node, found: SparseWeight, sparse: frozenset[str]) -> WeightPattern:
    weight, name = weight_of(node), str(node.name)
    is_sparse = name in sparse
    return WeightPattern(
        name,
        node.op_type,
        found.shape or (tuple(weight.shape) if weight is not None else ()),
        TWO_FOUR if is_sparse else DENSE,
        float(1 - np.count_nonzero(weight) / max(weight.size, 1)) if weight is not None else None,
        found.prunable,
        found.likely_to_gain,
        "" if is_sparse else found.reason,
    )


def summary(found: Sequence[WeightPattern]) -> str:
    """One line for the whole model."""
    sparse = sum(row.pattern == TWO_FOUR for row in found)
    eligible = [row for row in found if row.eligible]
    large = sum(row.likely_to_gain for row in eligible)
    return (
        f"2:4 sparsity: {sparse} of {len(found)} products have 2:4 weights, {len(eligible)} more could "
        f"(--sparsity 2:4), {large} of them with the {GAINING_CHANNELS} channels that TensorRT's maintainers advise"
    )


def render_patterns(found: Sequence[WeightPattern], console: Console) -> None:
    """Print a row for every product."""
    from rich.table import Table

    table = Table("product", "op", "weight", "pattern", "zeros", "--sparsity 2:4", box=None, pad_edge=False)
    for row in found:
        could = f"eligible{'' if row.likely_to_gain else ', small'}" if row.eligible else row.reason or "kept"
        zeros = f"{row.zeros:.0%}" if row.zeros is not None else ""
        table.add_row(row.node, row.op_type, "x".join(map(str, row.shape)), row.pattern, zeros, could)
    console.print(table, markup=False)
