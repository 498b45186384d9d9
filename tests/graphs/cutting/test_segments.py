"""The end of a graph gives what the whole graph gives, whatever crosses over."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from engines.onnxruntime.graph import running
from graphs.cutting.segments import tail
from graphs.reading.shapes import infer_shapes

NET = """
<ir_version: 9, opset_import: ["" : 21]>
net (float[n, 3] x, bool c) => (float[n, 3] y, float[n, 3] early) <float[3] w = {1, -2, 3}> {
    a = Relu (x)
    early = Neg (a)
    b = Mul (a, w)
    d = If (c) <
        then_branch = inside () => (float[n, 3] t) { t = Add (early, b) },
        else_branch = outside () => (float[n, 3] f) { f = Sub (a, w) }
    >
    y = Add (d, x)
}
"""


def node(model: ir.Model, output: str) -> ir.Node:
    return next(node for node in model.graph if node.outputs[0].name == output)


def test_the_end_of_a_graph_reads_what_crosses_over_inside_branches_too() -> None:
    model = ir.from_onnx_text(NET)
    infer_shapes(model)
    cut = tail(model, node(model, "d"))
    assert cut is not None
    assert {value.name for value in cut.graph.inputs} == {"a", "b", "early", "c", "x"}
    assert [value.name for value in cut.graph.outputs] == ["y"], "early is made before it"
    x = np.array([[1, -2, 3]], np.float32)
    a = np.maximum(x, 0)
    crossing = {"a": a, "b": a * np.array([1, -2, 3], np.float32), "early": -a, "x": x}
    for c in (np.array(True), np.array(False)):
        with running(model) as whole, running(cut) as end:
            wanted, got = whole.infer({"x": x, "c": c})["y"], end.infer({**crossing, "c": c})["y"]
        np.testing.assert_array_equal(got, wanted)
    assert [str(n.outputs[0].name) for n in model.graph] == ["a", "early", "b", "d", "y"], "the model is as it was"


def test_no_end_where_a_sequence_crosses_or_nothing_comes_out() -> None:
    model = ir.from_onnx_text("""
    <ir_version: 9, opset_import: ["" : 21]>
    net (float[4, 3] x) => (float[4, 3] y) {
        parts = SplitToSequence <axis: int = 0> (x)
        y = ConcatFromSequence <axis: int = 0> (parts)
        unread = Relu (y)
    }
    """)
    model.graph.node(0).outputs[0].type = ir.SequenceType(ir.TensorType(ir.DataType.FLOAT))
    assert tail(model, node(model, "y")) is None
    assert tail(model, node(model, "unread")) is None
