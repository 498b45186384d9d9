"""A seeded sample of ONNX's own backend tests; all of them: ``python -m studies.breadth.backend --out rows.jsonl``."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from studies.breadth import backend
from studies.breadth.onnx_tests import Case
from studies.breadth.row import Outcome

SEED = 10


def test_a_sample_is_right_or_refused_in_one_line() -> None:
    precisions = ("fp32", "int8", "fp32", "fp16")
    rows = [backend.run(case, precisions[number % 4]) for number, case in enumerate(backend.sample(14, SEED))]
    bad = [row for row in rows if row.outcome in (Outcome.WRONG, Outcome.CRASHED)]
    assert not bad, [f"{row.name} {row.precision}: {row.reason}" for row in bad]
    assert sum(row.outcome is Outcome.WORKS for row in rows) >= 8
    assert all(row.reason for row in rows if row.outcome is Outcome.REFUSED)


def doubled(factor: float) -> Case:
    """A test of a model that doubles, whose outputs say ``factor``."""
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[2, 3] x) => (float[2, 3] y) { y = Add(x, x) }'
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    return Case("node", "made up", onnx.parser.parse_model(text), [([x], [factor * x])], 1e-3, 1e-7)


@pytest.mark.parametrize(("factor", "outcome"), [(2.0, Outcome.WORKS), (3.0, Outcome.WRONG)])
def test_the_outputs_of_the_test_decide(factor: float, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "onnxruntimes", lambda case: None)
    row = backend.run(doubled(factor), "fp32")
    assert row.outcome is outcome, row.reason


def test_a_test_that_onnxruntime_contradicts_is_said_to_be_one() -> None:
    row = backend.run(doubled(3.0), "fp32")
    assert row.outcome is Outcome.WORKS and row.judge == "onnxruntime"
    assert "ONNX Runtime itself answers otherwise" in row.notes[0]
    assert backend.run(doubled(2.0), "fp32").judge == "the test"


def test_a_model_that_nobody_takes_is_a_refusal() -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node("StringNormalizer", ["x"], ["y"])
    kind = onnx.TensorProto.STRING
    model = helper.make_model(helper.make_graph([node], "g", [value("x", kind, [1])], [value("y", kind, [1])]))
    row = backend.run(Case("node", "strings", model, [([np.array(["a"])], [np.array(["a"])])], 1e-3, 1e-7), "fp32")
    assert row.outcome is Outcome.REFUSED and "type string" in row.reason
