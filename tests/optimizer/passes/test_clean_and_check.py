"""A cleaning pass that changes what the graph computes is undone, and named."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import optimizer.passes.clean as cleaning
from graphs.writing.node_names import name_nodes
from optimizer.attempt import STRICT
from optimizer.equivalence import Answers
from optimizer.passes.base import GraphPass, PassResult
from optimizer.passes.clean import clean_and_check

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N, 3, 4, 4] x) => (float[N, 4, 4, 4] y) <float[4, 3, 1, 1] w, float s = {2.0}> {
    i = Identity(x)  c = Conv(i, w)  y = Mul(c, s)
}"""
X = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)


class Careless:
    """Makes every Identity a Neg."""

    name = "careless"

    def apply(self, model: ir.Model) -> PassResult:
        found = [node for node in model.graph if node.op_type == "Identity"]
        for node in found:
            node.op_type = "Neg"
        return PassResult(len(found), ("careless did something",))


class Broken:
    name = "broken"

    def apply(self, model: ir.Model) -> PassResult:
        raise KeyError("x")


def model() -> ir.Model:
    made = ir.from_onnx_text(TEXT.replace("<float[4, 3, 1, 1] w,", "<float[4, 3, 1, 1] w = {" + "1," * 11 + "1},"))
    name_nodes(made)
    return made


def with_first(monkeypatch: pytest.MonkeyPatch, step: GraphPass) -> None:
    passes = (step, *cleaning.cleaning_passes())
    monkeypatch.setattr(cleaning, "cleaning_passes", lambda: passes)


def test_all_passes_at_once_where_nothing_changes() -> None:
    given = model()
    found = clean_and_check(given, Answers.of(given, [{"x": X}]).compare)
    assert [node.op_type for node in found.model.graph] == ["Conv"]
    assert not found.faults
    assert len(given.graph) == 3, "the graph given stays as it is"


def test_the_pass_at_fault_is_undone_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with_first(monkeypatch, Careless())
    given = model()
    check = Answers.of(given, [{"x": X}]).compare
    found = clean_and_check(given, check)
    assert check(found.model).same
    assert [node.op_type for node in found.model.graph] == ["Conv"]
    [fault] = found.faults
    assert fault.startswith("undone: cleaning, careless: not exact on this graph (output 'y'") and fault in found.notes
    assert "careless did something" not in found.notes


def test_a_pass_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with_first(monkeypatch, Broken())
    monkeypatch.delenv(STRICT)
    given = model()
    found = clean_and_check(given, Answers.of(given, [{"x": X}]).compare)
    assert [node.op_type for node in found.model.graph] == ["Conv"]
    assert len(found.faults) == 2 and all("left out: cleaning" in fault for fault in found.faults), found.faults
