"""Loops have a trip count and a first condition that TensorRT takes, and compute what they did."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.equivalence import compare_graphs
from optimizer.passes.tensorrt.loop_conditions import StateLoopConditions

LOOP = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[2,4] x) => (float[2,4] y) <int64 trips = {{{trips}}}, int64 last = {{4}}, bool yes = {{1}}> {{
    y = Loop({count}, {condition}, x) <body = b (int64 i, bool c, float[2,4] h) => (bool on, float[2,4] z) {{
        z = Tanh(h)
        before = Less(i, last)
        on = And(before, c)
    }}>
}}
"""


@pytest.mark.parametrize(
    ("count", "condition", "trips", "stated"),
    [("trips", "", 3, 1), ("", "yes", 3, 1), ("", "", 3, 2), ("trips", "yes", 2**63 - 1, 1), ("trips", "yes", 3, 0)],
)
def test_what_a_loop_leaves_out_is_stated(count: str, condition: str, trips: int, stated: int) -> None:
    text = LOOP.format(count=count, condition=condition, trips=trips)
    given = ir.from_onnx_text(text)
    model = given.clone()
    assert StateLoopConditions().apply(model).modified == stated
    (loop,) = list(model.graph)
    assert all(loop.inputs)
    limit = loop.inputs[0].const_value if loop.inputs[0] is not None else None
    assert limit is not None and limit.numpy() < 2**31 - 1, "TensorRT takes a larger count for none"
    assert compare_graphs(
        given, model, [{"x": np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)}]
    ).near
