"""Names of nodes: each once, unique ones kept, and many alike numbered without counting from one each time."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from graphs.writing import node_names
from graphs.writing.node_names import name_nodes


class Asked(set[str]):
    """Counts the names that were looked up."""

    times = 0

    def __contains__(self, name: object) -> bool:
        self.times += 1
        return super().__contains__(name)


def named(names: list[str | None]) -> ir.Model:
    x = ir.Value(name="x")
    nodes = [ir.node("Relu", [x]) for _ in names]
    model = ir.Model(ir.Graph([x], [], nodes=nodes, opset_imports={"": 21}), ir_version=10)
    for number, (node, name) in enumerate(zip(nodes, names, strict=True)):  # a graph names what has no name
        node.name, node.outputs[0].name = name, f"y{number}"
    return model


def test_unique_names_stay_and_others_are_numbered_around_them() -> None:
    model = named(["a", None, "a", "a_2", "a", ""])
    assert name_nodes(model) == 4
    assert [node.name for node in model.graph] == ["a", "Relu_y1", "a_3", "a_2", "a_4", "Relu_y5"]


def test_a_thousand_of_one_name_are_looked_up_a_few_times_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, free_name = Asked({"a"}), node_names.free_name
    monkeypatch.setattr(node_names, "free_name", lambda wanted, taken, numbers: free_name(wanted, asked, numbers))
    model = named(["a"] * 1000)
    assert name_nodes(model) == 999
    assert model.graph[-1].name == "a_1000" and asked.times < 3000
