"""Constant nodes of several outputs become initializers."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.writing.node_names import name_nodes
from optimizer.equivalence import compare_graphs
from optimizer.passes.folding.constants import FoldConstants

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def parse(body: str, weights: str) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[3, 4] x) => (float[a, b] y) <{weights}> {{ {body} }}'
    model = ir.from_onnx_text(text)
    name_nodes(model)
    return model


@pytest.mark.parametrize(
    ("body", "weights", "left"),
    [
        ("a, b = Split <axis = 0> (w, s) c = Transpose(b) y = MatMul(x, c)", "float[3, 4] w = {0,1,2,3,4,5,6,7,8,9,10,11}, int64[2] s = {1, 2}", 1),
        ("a, b = Split <axis = 1, num_outputs = 2> (w) c = Concat <axis = 0> (b, a) y = MatMul(x, c)", "float[2, 4] w = {0,1,2,3,4,5,6,7}", 1),
        ("a, i = TopK <axis = 0> (w, k) y = MatMul(x, a)", "float[4, 2] w = {0,1,9,3,4,5,6,7}, int64[1] k = {4}", 1),
        (
            "r, m, v = BatchNormalization <training_mode = 1> (w, g, z, z, g) t = Transpose(r) y = MatMul(x, t)",
            "float[3, 4] w = {0,1,2,3,4,5,6,7,8,9,10,11}, float[4] g = {1,1,1,1}, float[4] z = {0,0,0,0}",
            1,
        ),
        ("q, s, z = DynamicQuantizeLinear(w) d = DequantizeLinear(q, s, z) y = MatMul(x, d)", "float[4, 2] w = {0,1,2,3,4,5,6,7}", 3),
        ("a, b = Split <axis = 0, num_outputs = 2> (x) y = Add(a, w)", "float[1] w = {1}", 2),
    ],
    ids=["split sizes", "split evenly", "topk", "standardised weight", "quantization stays", "data stays"],
)  # fmt: skip
def test_folds(body: str, weights: str, left: int) -> None:
    given = parse(body, weights)
    folded = given.clone()
    FoldConstants().apply(folded)
    assert len(folded.graph) == left
    found = compare_graphs(given, folded, [{"x": X}])
    assert found.same, found.why
