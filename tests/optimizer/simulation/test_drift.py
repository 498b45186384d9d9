"""Drift along a graph: what each result loses against FP32, and the node at which the error of an output begins."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import optimizer.simulation.drift as drift
from benchmarks.accuracy.compare import SQNR_CAP_DB
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.simulation.drift import Compared, measure_drift
from tests.optimizer.quantization.models import normal, parse

LINE = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 64] x, float[64, 64] w) => (float[n, 64] y) {{
  {nodes}
}}
"""
FEEDS = [{"x": normal(4, 64, seed=3, scale=1.0)}]


def line(length: int) -> ir.Model:
    """``length`` products, each with a Tanh behind it."""
    names = ["x", *(f"t{index}" for index in range(length - 1)), "y"]
    nodes = [f"m{i} = MatMul ({names[i]}, w)\n {names[i + 1]} = Tanh (m{i})" for i in range(length)]
    return parse(LINE.format(nodes="\n".join(nodes)), {"w": normal(64, 64, scale=0.15)})


def spoiled(model: ir.Model, at: str) -> ir.Model:
    """A copy in which the result called ``at`` is off by a hundredth of its size and a bit."""
    copy = model.clone()
    node = next(node for node in copy.graph if node.name == at)
    value = node.outputs[0]
    factor = ir.Value(name="factor", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([64]))
    factor.const_value = ir.Tensor(np.linspace(0.97, 1.03, 64, dtype=np.float32), name="factor")
    copy.graph.register_initializer(factor)
    mul = ir.node("Mul", [value, factor], name="spoil")
    mul.outputs[0].type, mul.outputs[0].shape = value.type, value.shape
    copy.graph.insert_after(node, [mul])
    for user, index in list(value.uses()):
        if user is not mul:
            user.replace_input_with(index, mul.outputs[0])
    value.name, mul.outputs[0].name = f"{at}/right", at
    return copy


def test_what_is_the_same_is_exact_and_what_is_not_is_found_at_its_node() -> None:
    model = line(6)
    found = measure_drift(model, spoiled(model, "t2"), FEEDS)
    before, after = ["m0", "t0", "m1", "t1", "m2"], ["t2", "m3", "t3", "m4", "t4", "m5", "y"]
    assert list(found.nodes) == [*before, *after] and found.tensors == 12
    assert {found.nodes[name] for name in before} == {SQNR_CAP_DB}
    assert all(found.nodes[name] < 45 for name in after)
    assert found.first_bad is not None and found.first_bad.node == "t2" and found.first_bad.begins_here
    assert found.output == "y" and found.sqnr_db == found.nodes["y"]


def test_half_precision_drifts_a_little_everywhere_and_has_no_bad_node() -> None:
    model = line(3)
    typed = model.clone()
    HalfPrecision().apply(typed)
    found = measure_drift(model, typed, FEEDS)
    assert all(50 < level < 90 for level in found.nodes.values()) and found.first_bad is None


def test_memory_is_bounded_and_the_node_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = line(24)
    held: list[int] = []
    own = Compared.of

    def counted(self: Compared, names: list[str]) -> dict[str, float]:
        held.append(len(names))
        return own(self, names)

    monkeypatch.setattr(Compared, "of", counted)
    monkeypatch.setattr(drift, "HELD_BYTES", 5 * 64 * 4)
    found = measure_drift(model, spoiled(model, "m17"), FEEDS)
    assert len(found.nodes) <= 6 and max(held) <= 8 and len(held) <= 12
    assert found.first_bad is not None and found.first_bad.node == "m17"


def test_a_result_that_is_not_finite_any_more_has_lost_everything() -> None:
    model = line(2)
    broken = spoiled(model, "t0")
    broken.graph.initializers["factor"].const_value = ir.Tensor(np.full(64, np.inf, np.float32), name="factor")
    assert measure_drift(model, broken, FEEDS).nodes["t0"] == -SQNR_CAP_DB
