"""Q/DQ in one spelling, number for number."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.equivalence import compare_graphs
from optimizer.passes.dialects.spelling import SpellOutCodes

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
WEIGHT_IN_FLOAT = """g (float[2,3] x) => (float[2,2] y)
<float[2] s = {0.02, 0.5}, int8[2] z = {0, 0}, float[3,2] w = {0.05, -9.9, 0.03, 70.0, -3.0, 0.25}> {
    q = QuantizeLinear<axis = 1>(w, s, z)
    d = DequantizeLinear<axis = 1>(q, s, z)
    y = MatMul(x, d)
}"""
TRANSPOSED = """g (float[2,3] x) => (float[2,2] y)
<float[2] s = {0.02, 0.5}, int8[2] z = {0, 0}, int8[2,3] w = {1, -2, 3, 40, -50, 60}> {
    d = DequantizeLinear<axis = 0>(w, s, z)
    t = Transpose<perm = [1, 0]>(d)
    y = MatMul(x, t)
}"""
INTEGER_BIAS = """g (float[2,3] x) => (float[2,2] y)
<float s = {0.001}, int32 z = {0}, int32[2] b = {1500, -70000}, float[3,2] w = {1, 2, 3, 4, 5, 6}> {
    d = DequantizeLinear(b, s, z)
    y = Gemm(x, w, d)
}"""
MOVED = """g (float[2,4] x) => (float[4,2] y) <float s = {0.05}, uint8 z = {3}, int64[2] shape = {4, 2}> {
    c = QuantizeLinear(x, s, z)
    r = Reshape(c, shape)
    y = DequantizeLinear(r, s, z)
}"""
WITHOUT_ZERO = WEIGHT_IN_FLOAT.replace("DequantizeLinear<axis = 1>(q, s, z)", "DequantizeLinear<axis = 1>(q, s)")


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        (WEIGHT_IN_FLOAT, ["DequantizeLinear", "MatMul"]),
        (WITHOUT_ZERO, ["DequantizeLinear", "MatMul"]),
        (TRANSPOSED, ["DequantizeLinear", "MatMul"]),
        (INTEGER_BIAS, ["Gemm"]),
        (MOVED, ["QuantizeLinear", "DequantizeLinear", "Reshape", "QuantizeLinear", "DequantizeLinear"]),
    ],
)
def test_a_spelling_keeps_every_number(text: str, ops: list[str]) -> None:
    given, model = ir.from_onnx_text(HEAD + text), ir.from_onnx_text(HEAD + text)
    assert SpellOutCodes().apply(model).modified
    assert [node.op_type for node in model.graph] == ops
    feeds = [{"x": np.random.default_rng(0).standard_normal(given.graph.inputs[0].shape.numpy()).astype(np.float32)}]
    found = compare_graphs(given, model, feeds, fuse_qdq=False)
    assert found.same and found.max_abs < 1e-5, found
    assert SpellOutCodes().apply(model).modified == 0


def test_a_transposed_weight_keeps_its_scales_on_the_output_channels() -> None:
    model = ir.from_onnx_text(HEAD + TRANSPOSED)
    SpellOutCodes().apply(model)
    dequantize = model.graph[0]
    assert dequantize.attributes.get_int("axis") == 1
    assert dequantize.inputs[0] is not None and dequantize.inputs[0].const_value is not None
    assert dequantize.inputs[0].const_value.numpy().tolist() == [[1, 40], [-2, -50], [3, 60]]


def test_a_float_graph_is_left_alone() -> None:
    text = HEAD + "g (float[2,3] x) => (float[2,3] y) { t = Relu(x) y = Transpose<perm = [0, 1]>(t) }"
    model = ir.from_onnx_text(text)
    assert SpellOutCodes().apply(model).modified == 0


def test_a_large_weight_is_rounded_when_it_is_written() -> None:
    reads = []

    def read() -> ir.Tensor:
        reads.append(1)
        return ir.Tensor(np.ones((5000, 2), np.float32))

    model = ir.from_onnx_text(HEAD + WEIGHT_IN_FLOAT.replace("[2,3] x", "[2,5000] x"))
    weight = model.graph.initializers["w"]
    weight.const_value = ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape([5000, 2]), name="w")
    assert SpellOutCodes().apply(model).modified and not reads
    codes = model.graph[0].inputs[0]
    assert codes is not None and codes.const_value is not None
    assert codes.const_value.numpy()[0].tolist() == [50, 2] and reads
