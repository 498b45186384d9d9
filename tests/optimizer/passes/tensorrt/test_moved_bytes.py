"""Bytes are moved as floats, which TensorRT takes, and arrive as they were."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.equivalence import compare_graphs
from optimizer.passes.tensorrt.moved_bytes import MoveBytesAsFloats

HEADER = '<ir_version: 8, opset_import: ["" : 21]>'
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
