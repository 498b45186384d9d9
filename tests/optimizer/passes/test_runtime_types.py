"""Operators outside the ONNX standard get the types that ONNX Runtime infers, so that half precision is typed right."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from optimizer.passes.clean import clean
from optimizer.passes.half_precision import HalfPrecision

FUSED = """
<ir_version: 9, opset_import: ["" : 21, "com.microsoft" : 1]>
m (float[batch, 16] x) => (float[batch, 16] y)
  <float[16, 16] w = {WEIGHT}, float[16] b = {BIAS}> {
  h = MatMul (x, w)
  g = com.microsoft.BiasGelu (h, b)
  r = Relu (g)
  y = MatMul (r, w)
}
"""


@pytest.fixture
def fused() -> ir.Model:
    numbers = {"WEIGHT": ", ".join(["0.1"] * 256), "BIAS": ", ".join(["0.2"] * 16)}
    text = FUSED
    for name, values in numbers.items():
        text = text.replace(f"{{{name}}}", f"{{{values}}}")
    return ir.from_proto(onnx.parser.parse_model(text))


def test_types_behind_an_operator_of_another_domain_are_known(fused: ir.Model) -> None:
    clean(fused)
    assert all(value.dtype == ir.DataType.FLOAT for node in fused.graph for value in node.outputs)


def test_the_half_typed_graph_loads_in_onnxruntime(fused: ir.Model) -> None:
    clean(fused)
    HalfPrecision().apply(fused)
    ort.InferenceSession(ir.to_proto(fused).SerializeToString(), providers=["CPUExecutionProvider"])
