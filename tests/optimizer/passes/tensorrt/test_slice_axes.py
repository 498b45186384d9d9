"""A Slice states the axes that TensorRT takes otherwise, and computes what it did."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.equivalence import compare_graphs
from optimizer.passes.tensorrt.slice_axes import StateSliceAxes

HEADER = '<ir_version: 8, opset_import: ["" : 21]>'
SLICED = """g (float[9,8] x, int64[1] n) => (float[M,8] y, float[K,8] z)
<int64[1] zero = {0}, int64[2] from = {1, 2}, int64[2] to = {9, 8}> {
    y = Slice(x, zero, n)
    f = Slice(x, from, to)
    z = Slice(x, zero, n, zero)
}"""


def test_a_slice_states_its_axes() -> None:
    given = ir.from_onnx_text(HEADER + SLICED)
    model = given.clone()
    assert StateSliceAxes().apply(model).modified == 2
    assert all(node.inputs[3] is not None for node in model.graph)
    x = np.random.default_rng(0).standard_normal((9, 8)).astype(np.float32)
    found = compare_graphs(given, model, [{"x": x, "n": np.array([n])} for n in (2, 9)])
    assert found.same, found.why
