"""Each node's part of the error that all measured nodes would cause quantized, each alone: noise powers add up."""

from __future__ import annotations

from collections.abc import Mapping


def noise_shares(cost_db: Mapping[str, float | None]) -> dict[str, float]:
    """Node -> share (0 to 1), from the output SQNR in dB with only that node quantized; where it was measured."""
    noise = {name: 10 ** (-value / 10) for name, value in cost_db.items() if value is not None}
    total = sum(noise.values())
    return {name: power / total for name, power in noise.items()} if total else {}
