"""uint8 around 128 and int8 around 0 are the same numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from optimizer.equivalence import compare_graphs
from optimizer.passes.number_types.signed_codes import SignedCodes, UnsignedCodes

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
PAIR = """g (float[2,4] x) => (float[2,4] y) <float s = {0.05}, uint8 z = {128}> {
    [q] c = QuantizeLinear(x, s, z)
    [dq] y = DequantizeLinear(c, s, z)
}"""
MOVED = """g (float[2,4] x) => (float[4,2] y, float[2,4] t) <float s = {0.05}, uint8 z = {128}> {
    [q] c = QuantizeLinear(x, s, z)
    m = Transpose<perm=[1,0]>(c)
    [dq] y = DequantizeLinear(m, s, z)
    [dq2] t = DequantizeLinear(c, s, z)
}"""
WEIGHT = """g (float[2,3] x) => (float[2,2] y)
<float s = {0.02}, uint8 z = {128}, uint8[3,2] w = {0, 255, 128, 127, 129, 1}> {
    [dq] d = DequantizeLinear(w, s, z)
    y = MatMul(x, d)
}"""
OTHER_ZERO = PAIR.replace("{128}", "{120}")
READ_AS_CODES = """g (float[2,4] x) => (float[2,4] y, uint8[2,4] c) <float s = {0.05}, uint8 z = {128}> {
    [q] c = QuantizeLinear(x, s, z)
    [dq] y = DequantizeLinear(c, s, z)
}"""
WITH_PLACES = """g (float[2,4] x) => (float[1,2,2] y, int64[1,2,2] where)
<float s = {0.05}, uint8 z = {128}, int64[3] row = {1,2,4}> {
    [q] c = QuantizeLinear(x, s, z)
    r = Reshape(c, row)
    m, where = MaxPool<kernel_shape = [2], strides = [2]>(r)
    [dq] y = DequantizeLinear(m, s, z)
}"""
CHOSEN = """g (float[2,4] x) => (float[2,2] y) <float s = {0.05}, uint8 z = {128}, int64[2] places = {3, 1}> {
    [q] c = QuantizeLinear(x, s, z)
    m = Gather<axis = 1>(c, places)
    [dq] y = DequantizeLinear(m, s, z)
}"""
ONE_OF_TWO = """g (float[2,4] x) => (float[2,4] y, float[2,4] t) <float s = {0.05}, uint8 z = {128}, uint8 o = {3}> {
    [q] c = QuantizeLinear(x, s, z)
    [dq] y = DequantizeLinear(c, s, z)
    [dq2] t = DequantizeLinear(c, s, o)
}"""


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (PAIR, 1),
        (MOVED, 1),
        (WEIGHT, 1),
        (OTHER_ZERO, 0),
        (READ_AS_CODES, 0),
        (ONE_OF_TWO, 0),
        (WITH_PLACES, 0),
        (CHOSEN, 1),
    ],
)
def test_codes_are_signed_where_all_agree(text: str, changed: int) -> None:
    model = ir.from_onnx_text(HEAD + text)
    given = model.clone()
    assert SignedCodes().apply(model).modified == changed
    feed = {
        str(v.name): np.linspace(-9, 9, v.shape.numpy()[0] * v.shape.numpy()[1]).reshape(v.shape.numpy())
        for v in given.graph.inputs
    }
    feeds = [{name: array.astype(np.float32) for name, array in feed.items()}]
    found = compare_graphs(given, model, feeds)
    assert found.same and found.max_abs == 0, found.why
    kinds = {node.inputs[2].dtype for node in model.graph if node.op_type.endswith("Linear")}
    assert kinds == ({ir.DataType.INT8} if changed else {ir.DataType.UINT8})


@pytest.mark.parametrize("move", ["Reshape(d, shape)", "Transpose<perm=[1,0]>(d)"])
def test_int8_data_before_a_move_loads_in_plain_onnxruntime_once_unsigned(move: str) -> None:
    """ONNX Runtime 1.32 refuses opset 21 otherwise: its own Q behind the move is of two types."""
    model = ir.from_onnx_text(
        HEAD
        + """g (float[4,4] x) => (float[N,M] y)
        <float s = {0.05}, int8 z = {0}, int64[2] shape = {2, 8}, int8[4,4] w = {1,2,3,4,5,6,7,8,9,8,7,6,5,4,3,2}> {
            [ab] a = Abs(x)
            [q] c = QuantizeLinear(a, s, z)
            [dq] d = DequantizeLinear(c, s, z)
            [move] m = MOVE
            [w_dq] v = DequantizeLinear(w, s, z)
            [p] p = MatMul(x, v)
            [pm] pm = Reshape(p, shape)
            [mm] mm = Reshape(m, shape)
            [y] y = Add(pm, mm)
        }""".replace("MOVE", move)
    )
    given = model.clone()
    assert UnsignedCodes().apply(model).modified == 1, "data, not weights"
    feeds = [{"x": np.linspace(-9, 9, 16, dtype=np.float32).reshape(4, 4)}]
    found = compare_graphs(given, model, feeds)
    assert found.same and found.max_abs == 0, found.why
    assert model.graph.node("w_dq").inputs[0].dtype == ir.DataType.INT8
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, feeds[0])[0]).all()
    assert SignedCodes().apply(model).modified == 1
    assert compare_graphs(given, model, feeds).max_abs == 0
