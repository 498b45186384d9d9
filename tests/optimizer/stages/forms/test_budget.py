"""The loop over the accuracy budget: what it tries, when it stops, and which form it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from optimizer.quantization.corrections.fallback import Allowance
from optimizer.stages.forms.budget import within_budget


@dataclass
class Graph:
    """Leaves out ``by_most[most]``; counts how often it is quantized."""

    by_most: dict[float, str]
    made: list[str] = field(default_factory=list)

    def kept_float(self, allowance: Allowance) -> frozenset[str]:
        return frozenset(self.by_most[allowance.most])

    def quantized(self, allowance: Allowance) -> SimpleNamespace:
        nodes = self.kept_float(allowance)
        self.made.append("".join(sorted(nodes)))
        return SimpleNamespace(fallen_back=nodes, expected=0.1)


def tried(graph: Graph, drops: dict[str, float], budget: float = 0.01) -> SimpleNamespace:
    def make(quantized: SimpleNamespace) -> SimpleNamespace:
        nodes = "".join(sorted(quantized.fallen_back))
        check = SimpleNamespace(ok=drops[nodes] <= budget, drop=drops[nodes], reasons=["over"])
        return SimpleNamespace(nodes=nodes, check=check, in_words="100% of the MACs in int8")

    return within_budget(graph, make, lambda _: None)


def test_the_first_form_within_budget_ends_it() -> None:
    graph = Graph({0.25: "", 0.5: "ab"})
    assert tried(graph, {"": 0.005}).nodes == "" and graph.made == [""]


def test_nothing_is_quantized_again_where_no_other_choice_is_left() -> None:
    graph = Graph({0.25: "", 0.5: ""})
    assert tried(graph, {"": 0.5}).nodes == "" and graph.made == [""]


def test_a_wider_allowance_is_still_looked_at() -> None:
    graph = Graph({0.25: "", 0.5: "ab"})
    assert tried(graph, {"": 0.5, "ab": 0.001}).nodes == "ab" and graph.made == ["", "ab"]


@pytest.mark.parametrize(("drop", "kept"), [(0.45, ""), (0.1, "ab")])
def test_where_nothing_reaches_the_budget_macs_are_not_spent_in_vain(drop: float, kept: str) -> None:
    assert tried(Graph({0.25: "", 0.5: "ab"}), {"": 0.5, "ab": drop}).nodes == kept
