"""Why a quantized engine lost: which nodes it made slower, and what converting to and from codes took.

Both engines are profiled kernel by kernel on the same sample. Kernels of one engine that no node of the float graph has
are what it does beside: quantizing, dequantizing, changing layouts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

NAMED = 3
"""Nodes that a sentence names; the field has all. Chosen."""
LEAST_MS = 0.001
"""Below a microsecond two kernels are no different: the profiler counts in whole ones. Chosen."""


@dataclass(frozen=True)
class QuantizedCosts:
    """Milliseconds per inference, by the profiler. ``slower`` maps nodes to how much longer they take quantized, the
    worst first; ``conversions_ms`` is what ``conversions`` kernels take that only convert or move data, beyond those of
    the float engine; ``faster_ms`` what all other nodes gain.
    """

    slower: dict[str, float] = field(default_factory=dict)
    conversions: int = 0
    conversions_ms: float = 0.0
    faster_ms: float = 0.0

    @staticmethod
    def between(quantized: Mapping[str, float], plain: Mapping[str, float], nodes: Collection[str]) -> QuantizedCosts:
        """Kernel times of two engines of one graph, quantized and plain, whose own nodes are ``nodes``."""
        more = {name: quantized.get(name, 0.0) - plain.get(name, 0.0) for name in nodes}
        beside = [time for name, time in quantized.items() if name not in nodes]
        slower = {name: round(time, 4) for name, time in more.items() if time > LEAST_MS}
        return QuantizedCosts(
            dict(sorted(slower.items(), key=lambda item: -item[1])),
            len(beside),
            round(max(sum(beside) - sum(time for name, time in plain.items() if name not in nodes), 0.0), 4),
            round(sum(-time for time in more.values() if time < 0), 4),
        )

    @property
    def sentence(self) -> str:
        """What the codes cost and what they gain, for a reader who wonders why they lost; empty for nothing to tell."""
        parts = []
        if self.conversions_ms > LEAST_MS:
            kernels = (
                "1 kernel that converts or moves"
                if self.conversions == 1
                else (f"{self.conversions} kernels that convert or move")
            )
            parts.append(f"{kernels} data: +{self.conversions_ms:.3g} ms")
        if self.slower:
            worst = [f"{name} +{time:.3g} ms" for name, time in list(self.slower.items())[:NAMED]]
            rest = len(self.slower) - len(worst)
            more = f" and {rest} more nodes, +{sum(self.slower.values()):.3g} ms in all" if rest > 0 else ""
            parts.append(f"slower: {', '.join(worst)}{more}")
        if parts and self.faster_ms > LEAST_MS:
            parts.append(f"all others: -{self.faster_ms:.3g} ms")
        return "; ".join(parts)
