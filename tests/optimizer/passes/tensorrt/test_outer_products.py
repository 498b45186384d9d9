"""A product that sums over one element is a multiplication."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.equivalence import compare_graphs
from optimizer.passes.tensorrt.outer_products import MultiplyOuterProducts

GRAPH = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[B,1,S] at, float[3,1] column, float[1] one) => (float[B,8,S] y, float[B,3,S] z, float[B,S] v)
<float[1,8,1] frequencies = {1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3}> {
    [rotary] y = MatMul(frequencies, at)
    [outer] z = MatMul(column, at)
    [vector] v = MatMul(one, at)
}
"""


def test_products_over_one_element_are_multiplications() -> None:
    given = ir.from_onnx_text(GRAPH)
    model = given.clone()
    assert MultiplyOuterProducts().apply(model).modified == 2
    assert [node.op_type for node in model.graph] == ["Mul", "Mul", "MatMul"], "a vector's axis is no row"
    rng = np.random.default_rng(0)
    shapes = {"at": (2, 1, 5), "column": (3, 1), "one": (1,)}
    feeds = [{name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}]
    assert compare_graphs(given, model, feeds).near
