"""The precision plan: for every node, the dtype it computes in, why, and what that costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum


class Dtype(str, Enum):
    """What a node computes in."""

    INT8 = "int8"
    FP8 = "fp8"
    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"

    @property
    def half(self) -> bool:
        """A float type of 16 bits."""
        return self in (Dtype.FP16, Dtype.BF16)


@dataclass(frozen=True)
class NodePrecision:
    """``reason`` names the placement rule or measurement behind the choice; ``macs`` per sample; ``cost_db`` is the
    output SQNR measured with only this node in this precision, where it was measured."""

    dtype: Dtype
    reason: str
    op_type: str = ""
    macs: int = 0
    cost_db: float | None = None


@dataclass(frozen=True)
class PrecisionPlan:
    """Node name -> precision, in graph order; ``notes`` say what passes and corrections did to the graph."""

    nodes: dict[str, NodePrecision]
    notes: list[str] = field(default_factory=list)

    @property
    def computes_in(self) -> str:
        """What the heavy nodes compute in: int8 where any does, else the dtype of most MACs; empty for no nodes."""
        macs: dict[str, int] = {}
        for node in self.nodes.values():
            macs[node.dtype.value] = macs.get(node.dtype.value, 0) + node.macs
        return Dtype.INT8.value if Dtype.INT8.value in macs else max(macs, key=lambda dtype: macs[dtype], default="")

    def counts(self) -> dict[str, int]:
        return dict(Counter(node.dtype.value for node in self.nodes.values()))
