"""A graph in stretches between tensors that are read."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from engines.onnxruntime.graph import running
from graphs.cutting.stretches import stretch
from graphs.writing.edits import values_by_name

GRAPH = """<ir_version: 10, opset_import: ["" : 21]> net (float[4] x) => (float[4] y)
<float[1] w = {2}, float s = {0.5}, int8 z = {0}> {
  a = Exp (x)
  q = QuantizeLinear (a, s, z)
  d = DequantizeLinear (q, s, z)
  ww = Mul (w, w)
  b = Mul (d, ww)
  y = Add (b, a)
}"""


def model() -> ir.Model:
    proto = onnx.parser.parse_model(GRAPH)
    for node in proto.graph.node:
        node.name = node.output[0]
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def test_it_ends_at_what_is_read_and_holds_what_is_between() -> None:
    whole = model()
    values = values_by_name(whole.graph)
    found = stretch(whole.graph, values["y"], {values["a"]})
    assert [value.name for value in found.inputs] == ["a"]
    assert [node.name for node in found.nodes] == ["q", "d", "b", "y"], "what no data reaches is not at fault"
    assert [value.name for value in found.inside] == ["b"], "codes and what fuses with its reader cannot be read"


def test_without_stops_it_goes_back_to_the_inputs_along_every_branch() -> None:
    whole = model()
    values = values_by_name(whole.graph)
    found = stretch(whole.graph, values["y"], {values["b"]})
    assert [value.name for value in found.inputs] == ["b", "x"]
    assert [node.name for node in found.nodes] == ["a", "y"]


def test_it_runs_by_itself() -> None:
    whole = model()
    values = values_by_name(whole.graph)
    part = stretch(whole.graph, values["y"], {values["a"]}).model(whole)
    assert part is not None
    with running(part, fuse_qdq=False) as engine:
        answer = engine.infer({"a": np.array([1, 2, 3, 4], np.float32)})
    np.testing.assert_allclose(answer["y"], [5, 10, 15, 20])
