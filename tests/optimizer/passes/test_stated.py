"""What TensorRT does not work out for itself is stated, and bytes are moved as floats; all computes what it did."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.equivalence import compare_graphs
from optimizer.passes.moved_bytes import MoveBytesAsFloats
from optimizer.passes.slice_axes import StateSliceAxes

HEADER = '<ir_version: 8, opset_import: ["" : 21]>'
SLICED = """g (float[9,8] x, int64[1] n) => (float[M,8] y, float[K,8] z)
<int64[1] zero = {0}, int64[2] from = {1, 2}, int64[2] to = {9, 8}> {
    y = Slice(x, zero, n)
    f = Slice(x, from, to)
    z = Slice(x, zero, n, zero)
}"""
IMAGE = """g (uint8[N,6,5,3] x) => (uint8[N,6,5,3] y, float[N,3,6,4] z)
<int64[1] zero = {0}, int64[1] four = {4}, int64[1] axis = {3}> {
    planes = Transpose<perm = [0, 3, 1, 2]>(x)
    cut = Slice(planes, zero, four, axis)
    z = Cast<to = 1>(cut)
    all = Transpose<perm = [0, 3, 1, 2]>(x)
    floats = Cast<to = 1>(all)
    less = Add(floats, floats)
    bytes = Cast<to = 2>(less)
    y = Transpose<perm = [0, 2, 3, 1]>(bytes)
}"""


def test_a_slice_states_its_axes() -> None:
    given = ir.from_onnx_text(HEADER + SLICED)
    model = given.clone()
    assert StateSliceAxes().apply(model).modified == 2
    assert all(node.inputs[3] is not None for node in model.graph)
    x = np.random.default_rng(0).standard_normal((9, 8)).astype(np.float32)
    found = compare_graphs(given, model, [{"x": x, "n": np.array([n])} for n in (2, 9)])
    assert found.same, found.why


def test_bytes_are_moved_as_floats() -> None:
    given = ir.from_onnx_text(HEADER + IMAGE)
    model = given.clone()
    assert MoveBytesAsFloats().apply(model).modified == 4
    moving = [node for node in model.graph if node.op_type in ("Transpose", "Slice")]
    assert {node.inputs[0].dtype for node in moving if node.inputs[0] is not None} == {ir.DataType.FLOAT}
    assert [value.dtype for value in model.graph.outputs] == [ir.DataType.UINT8, ir.DataType.FLOAT]
    x = np.random.default_rng(0).integers(0, 128, (2, 6, 5, 3)).astype(np.uint8)
    found = compare_graphs(given, model, [{"x": x}])
    assert found.same, found.why
