"""Types of inputs and outputs, with as few casts as that takes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.reading.shapes import infer_shapes
from optimizer.equivalence import compare_graphs
from optimizer.passes.number_types.interface_types import InterfaceTypes
from optimizer.passes.number_types.minimal_casts import MinimalCasts

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
F16, F32, BF16 = ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.BFLOAT16
PLAIN = """g (float[2,3] x, int64[2] i) => (float[2,3] y, float[2,3] z, int64[2] j) {
    y = Relu(x)
    z = Neg(y)
    j = Identity(i)
}"""
HALF = """g (float16[2,3] x) => (float16[2,3] y) {
    a = Cast<to = 1>(x)
    b = Exp(a)
    y = Cast<to = 10>(b)
}"""
PASSED_ON = "g (float[2,3] x) => (float[2,3] x) { unread = Relu(x) }"
IN_A_BRANCH = """g (float[2,3] x, bool c) => (float[2,3] y) {
    y = If(c) <
        then_branch = t () => (float[2,3] a) { a = Relu(x) },
        else_branch = e () => (float[2,3] b) { b = Neg(x) }
    >
}"""

CAST_IN_A_BRANCH = IN_A_BRANCH.replace("b = Neg(x)", "h = Cast<to = 10>(x) n = Neg(h) b = Cast<to = 1>(n)")


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def _types(model: ir.Model) -> list[str]:
    return [value.dtype.name for value in (*model.graph.inputs, *model.graph.outputs) if value.dtype]


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_floats_change_and_integers_stay(dtype: ir.DataType) -> None:
    model = ir.from_onnx_text(HEAD + PLAIN)
    assert InterfaceTypes(dtype).apply(model).modified == 3
    assert _types(model) == [dtype.name, "INT64", dtype.name, dtype.name, "INT64"]
    assert [value.name for value in model.graph.outputs] == ["y", "z", "j"]
    assert _ops(model).count("Cast") == 3


def test_what_a_source_casts_itself_is_cast_no_more() -> None:
    model = ir.from_onnx_text(HEAD + HALF)
    infer_shapes(model)
    assert InterfaceTypes(F32).apply(model).modified == 2
    assert _ops(model) == ["Exp"] and _types(model) == ["FLOAT", "FLOAT"]
    assert model.graph.outputs[0].name == "y"


def test_a_type_that_is_there_already_is_left_alone() -> None:
    model = ir.from_onnx_text(HEAD + HALF)
    assert InterfaceTypes(F16).apply(model).modified == 0


def test_an_input_that_is_an_output_changes_once() -> None:
    model = ir.from_onnx_text(HEAD + PASSED_ON)
    InterfaceTypes(F16).apply(model)
    assert _types(model) == ["FLOAT16", "FLOAT16"]


@pytest.mark.parametrize("text", [PLAIN, IN_A_BRANCH, CAST_IN_A_BRANCH])
def test_it_computes_the_same_from_rounded_inputs(text: str) -> None:
    given, model = ir.from_onnx_text(HEAD + text), ir.from_onnx_text(HEAD + text)
    InterfaceTypes(F16).apply(model)
    InterfaceTypes(F32).apply(model)
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float16).astype(np.float32)
    feeds = [{"x": x, "i": np.array([1, 2]), "c": np.array(taken)} for taken in (True, False)]
    assert compare_graphs(given, model, feeds).sqnr_db > 60


CASTS = """g (float16[2,3] x, float[2,3] f) => (float16[2,3] y, float[2,3] z, float16[2,3] w) {
    a = Cast<to = 1>(x)
    y = Cast<to = 10>(a)
    r = Cast<to = 10>(f)
    z = Cast<to = 1>(r)
    n = Neg(x)
    w = Cast<to = 10>(n)
}"""


def test_only_casts_that_round_stay() -> None:
    model = ir.from_onnx_text(HEAD + CASTS)
    infer_shapes(model)
    MinimalCasts().apply(model)
    # y is x, but an output needs a name of its own; z was rounded on purpose; w is n
    assert _ops(model) == ["Cast", "Cast", "Cast", "Cast", "Neg"]
    assert [value.name for value in model.graph.outputs] == ["y", "z", "w"]
