"""Why a quantized engine lost: the nodes that took longer, and the kernels that only convert."""

from __future__ import annotations

import pytest

from benchmarks.timing.quantized_costs import QuantizedCosts


def test_nodes_that_lose_and_kernels_beside_them_are_told_apart() -> None:
    plain = {"conv": 1.0, "gate": 0.1, "pool": 0.2, "ReorderInput": 0.05}
    quantized = {"conv": 0.4, "gate": 0.3, "pool": 0.2, "gate/Q": 0.2, "gate/DQ": 0.25}
    found = QuantizedCosts.between(quantized, plain, ["conv", "gate", "pool", "folded"])
    assert found.slower == {"gate": pytest.approx(0.2)}
    assert found.conversions == 2 and found.conversions_ms == pytest.approx(0.4), "beyond what FP32 reorders"
    assert found.faster_ms == pytest.approx(0.6)
    assert found.sentence == ("2 kernels that convert or move data: +0.4 ms; slower: gate +0.2 ms; all others: -0.6 ms")


def test_a_sentence_names_the_worst_and_counts_the_rest() -> None:
    quantized = {f"n{index}": 1.0 + index / 10 for index in range(9)}
    found = QuantizedCosts.between(quantized, dict.fromkeys(quantized, 0.5), list(quantized))
    assert list(found.slower)[:2] == ["n8", "n7"]
    assert found.sentence == "slower: n8 +1.3 ms, n7 +1.2 ms, n6 +1.1 ms and 6 more nodes, +8.1 ms in all"
    assert QuantizedCosts.between({"a": 1.0}, {"a": 1.0}, ["a"]).sentence == ""
