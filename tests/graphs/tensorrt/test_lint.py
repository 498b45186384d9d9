"""Every lint rule fires on the graph it is about, and only there."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import onnx_ir as ir
import pytest

from graphs.tensorrt.lint import Rule, lint
from graphs.writing.node_names import name_nodes
from optimizer.passes.infer_shapes import InferShapes

GOOD = """g (float[N, 4] x) => (float[N, 2] y)
<float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] ws = {0.1, 0.2}, int8[2] wz = {0, 0}, float s = {0.05}, int8 z = {0}> {
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
    wq = QuantizeLinear<axis = 1>(w, ws, wz) wd = DequantizeLinear<axis = 1>(wq, ws, wz)
    y = MatMul(d, wd)
}"""


def rules(text: str) -> list[Rule]:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    name_nodes(model)
    InferShapes().apply(model)
    return sorted({finding.rule for finding in lint(model)})


def changed(*edits: tuple[str, str]) -> str:
    text = GOOD
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def test_a_good_graph_has_no_findings() -> None:
    assert rules(GOOD) == []


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([("int8 z = {0}", "int8 z = {3}")], [Rule.ZERO_POINT]),
        ([("int8 z = {0}", "uint8 z = {128}")], [Rule.QUANTIZED_TYPE, Rule.ZERO_POINT]),
        ([("int8 z = {0}", "uint8 z = {0}")], [Rule.QUANTIZED_TYPE]),
        ([("q = QuantizeLinear(x, s, z)", "q = QuantizeLinear(x, s)")], [Rule.QUANTIZED_TYPE]),
        ([("s = {0.05}", "s = {0}")], [Rule.SCALE_VALUE]),
        ([("s = {0.05}", "s = {-1}")], [Rule.SCALE_VALUE]),
        ([("s = {0.05}", "s = {1e-39}")], [Rule.SCALE_VALUE]),
        ([("<axis = 1>", "<axis = 0>"), ("[2] ws = {0.1, 0.2}", "[4] ws = {1, 1, 1, 1}"), ("[2] wz = {0, 0}", "[4] wz = {0, 0, 0, 0}")], [Rule.WEIGHT_AXIS]),
        ([("float[4, 2] w =", "float[8] w ="), ("[2] ws = {0.1, 0.2}", "[8] ws = {1, 1, 1, 1, 1, 1, 1, 1}"), ("[2] wz = {0, 0}", "[8] wz = {0, 0, 0, 0, 0, 0, 0, 0}"), ("float[N, 4] x", "float[N, 8] x"), ("float[N, 2] y", "float[N] y"), ("<axis = 1>", "<axis = 0>")], [Rule.WEIGHT_AXIS]),
        ([("y = MatMul(d, wd)", "y = MatMul(x, wd)")], [Rule.ONE_SIDED]),
        ([("y = MatMul(d, wd)", "y = MatMul(d, w)")], [Rule.ONE_SIDED]),
        ([("DequantizeLinear(q, s, z)", "DequantizeLinear(q, s2, z)"), ("float s =", "float s2 = {0.06}, float s =")], [Rule.PAIR]),
    ],
)  # fmt: skip
def test_each_rule_fires(edits: list[tuple[str, str]], expected: list[Rule]) -> None:
    assert rules(changed(*edits)) == expected


def test_a_quantizer_whose_result_nobody_dequantizes_dangles() -> None:
    text = "g (float[N] x) => (int8[N] q) <float s = {1.0}, int8 z = {0}> { q = QuantizeLinear(x, s, z) }"
    assert rules(text) == [Rule.DANGLING]
    text = "g (int8[N] x) => (float[N] y) <float s = {1.0}, int8 z = {0}> { y = DequantizeLinear(x, s, z) }"
    assert rules(text) == [Rule.DANGLING]


def test_per_channel_activations_are_found() -> None:
    text = """g (float[N, 2] x) => (float[N, 2] y) <float[2] s = {1, 2}, int8[2] z = {0, 0}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    assert rules(text) == [Rule.PER_TENSOR]


def test_an_int32_bias_is_found() -> None:
    text = """g (float[N, 4, 8, 8] x) => (float[N, 1, 8, 8] y)
    <float[1, 4, 1, 1] w = {1, 2, 3, 4}, int32[1] b = {5}, float s = {0.05}> {
        d = DequantizeLinear(b, s) y = Conv(x, w, d) }"""
    assert rules(text) == [Rule.BIAS, Rule.QUANTIZED_TYPE]


@pytest.mark.parametrize(
    ("op", "shape", "right", "wrong"),
    [
        ("Conv", (2, 4, 1, 1), 0, 1),
        ("ConvTranspose", (4, 2, 1, 1), 1, 0),
        ("Gemm", (4, 2), 1, 0),
        ("Gemm<transB = 1>", (2, 4), 0, 1),
    ],
)
def test_the_axis_of_each_weighted_operator(op: str, shape: tuple[int, ...], right: int, wrong: int) -> None:
    data = "float[N, 4, 8, 8]" if len(shape) == 4 else "float[N, 4]"

    def text(axis: int) -> str:
        ones, zeros = ", ".join(["1"] * shape[axis]), ", ".join(["0"] * shape[axis])
        return f"""g ({data} x) => (float[A, B] y) <int8[{", ".join(map(str, shape))}] w = {{1, 2, 3, 4, 5, 6, 7, 8}},
        float[{shape[axis]}] ws = {{{ones}}}, int8[{shape[axis]}] wz = {{{zeros}}}, float s = {{1.0}}, int8 z = {{0}}> {{
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear<axis = {axis}>(w, ws, wz)
            {"y" if len(shape) == 2 else "c"} = {op}(d, v) {"y = Flatten(c)" if len(shape) == 4 else ""} }}"""

    assert rules(text(right)) == []
    assert rules(text(wrong)) == [Rule.WEIGHT_AXIS]


def test_operands_of_different_types_are_found() -> None:
    text = """g (float[N] x, float16[N] h) => (float[N] y) {
        a = Cast<to = 10>(x) b = Add(a, h) c = Cast<to = 1>(b) y = Neg(c) }"""
    assert rules(text) == []
    assert Rule.TYPE_MISMATCH in rules("g (float[N] x, float16[N] h) => (float[N] y) { y = Add(x, h) }")


def test_findings_name_the_node() -> None:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + changed(("int8 z = {0}", "int8 z = {3}")))
    name_nodes(model)
    assert {finding.where for finding in lint(model)} == {"QuantizeLinear_q", "DequantizeLinear_d"}
