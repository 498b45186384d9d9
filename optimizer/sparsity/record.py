"""What is known of a node's 2:4 sparsity, as ``precision.json`` and ``explain`` tell it."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.sparsity.eligible import SparseWeight
from optimizer.sparsity.pattern import TWO_FOUR

DENSE = "dense"


@dataclass(frozen=True)
class NodeSparsity:
    """``pattern`` is ``2:4`` or ``dense``, ``reason`` why, in words.

    ``error`` is that of the layer's outputs relative to their variance, on calibration samples, and ``by_magnitude``
    what pruning by magnitude alone would leave; None where the layer was not solved for. ``likely_to_gain``: it is as
    large as TensorRT's maintainers advise; ``given``: the weight has the pattern in the model as it came.
    """

    pattern: str
    reason: str
    error: float | None = None
    by_magnitude: float | None = None
    likely_to_gain: bool = False
    given: bool = False

    @property
    def sparse(self) -> bool:
        return self.pattern == TWO_FOUR


def recorded(weight: SparseWeight) -> dict[str, NodeSparsity]:
    """Of each node that reads ``weight``, once everything prunable is pruned."""
    pattern = DENSE if weight.reason else TWO_FOUR
    found = NodeSparsity(pattern, weight.told, likely_to_gain=weight.likely_to_gain, given=weight.given)
    return {str(node.name): found for node in weight.nodes}
